"""The three phases of the k-mer VQ-VAE: files, resuming, several processes, wrong input"""
import os, subprocess, sys
from pathlib import Path
import numpy as np, pytest, torch
from textlab.codes import (KmerVQVAE, QueryPassageAdapters, adapt, align, encode_texts, load_aligned, load_codes, prepare,
                           pretrain, read_pairs, stream_texts)
from textlab.core import ArtifactError, ConfigError, CorpusError

WORDS = 'rain sun river stone bird tree wind road lamp ship gold salt corn wolf moon star'.split()
SMALL = dict(num_codes=16, n_layers=1, d_model=32, n_heads=2, batch_size=16, warmup=48, refit=48, device='cpu')

class Teacher:
    "Counts letters, so that a test needs no network"
    name, dim, fingerprint = 'letters', 32, 'letters'
    def encode(self, texts, **options):
        counts = np.array([[t.count(chr(97 + i % 26)) + .1*(i + 1) for i in range(32)] for t in texts], np.float32)
        return counts/np.linalg.norm(counts, axis=1, keepdims=True)

def texts(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return [' '.join(rng.choice(WORDS, 40)) + '.' for _ in range(n)]

def data(tokenizer=None, seed=0, uncased=True):
    return prepare(texts(seed=seed), tokenizer, vocab_size=320, uncased=uncased, embedder=Teacher(), valid_share=.2)

def pairs(n=60):
    return read_pairs([(f'where is {a} {b}?', f'The {a} {b} is here, beside the {c}.') for a, b, c in
                       np.random.default_rng(1).choice(WORDS, (n, 3))])

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "The three checkpoints"
    d = tmp_path_factory.mktemp('codes')
    pretrain(data(), d/'1.pt', **SMALL)
    base = load_codes(d/'1.pt')
    adapt(data(base.tokenizer, 5), base, d/'1b.pt', device='cpu', learning_rate=1e-2)
    align(pairs(), load_codes(d/'1b.pt'), d/'2.pt', device='cpu', batch_size=8, epochs=2)
    return d

def same(a, b): return list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a)

def test_checkpoints_hold_the_named_keys_and_load_without_code(folder):
    for name, phase in (('1', '1a'), ('1b', '1b'), ('2', '2')):
        state = torch.load(folder/f'{name}.pt', weights_only=True)
        assert {'base_config', 'base_model_state_dict', 'phase', 'tokenizer', 'metrics', 'history'} <= set(state)
        assert state['phase'] == phase
    assert 'adapter_state_dict' in state

def test_phase_1b_leaves_base_and_codebook_bit_identical(folder):
    first, second = (torch.load(folder/f'{n}.pt', weights_only=True) for n in ('1', '1b'))
    assert same(first['base_model_state_dict'], second['base_model_state_dict'])
    assert any(v.abs().sum() > 0 for k, v in second['lora_state_dict'].items() if 'lora_B' in k)
    merged = load_codes(folder/'1b.pt').model.state_dict()
    changed = {k for k, v in first['base_model_state_dict'].items() if not torch.equal(v, merged[k])}
    assert changed and all('q_proj.weight' in k or 'v_proj.weight' in k for k in changed)
    assert all(k.startswith('encoder.') for k in changed)

def test_a_codebook_rate_moves_the_codebook_a_little(folder):
    base = load_codes(folder/'1.pt')
    found = adapt(data(base.tokenizer, 5), base, None, device='cpu', codebook_lr=1e-3)
    moved = (found.model.codebook - base.model.codebook).abs().max()
    assert 0 < moved < .05

def test_the_inference_snippet_of_the_original_design(folder):
    checkpoint = torch.load(folder/'2.pt')
    model = KmerVQVAE(**checkpoint["base_config"])
    model.load_state_dict(checkpoint["base_model_state_dict"])
    adapters = QueryPassageAdapters(d_model=32)
    adapters.load_state_dict(checkpoint["adapter_state_dict"])
    again = load_aligned(folder/'2.pt')
    tokens, mask = encode_texts(again, texts(5, seed=9))
    codes = model.encode(tokens, mask, adapters.passage)["indices"]
    assert torch.equal(codes, again.model.encode(tokens, mask, again.adapters.passage)['indices'])

def test_base_is_frozen_in_phase_2(folder):
    state = torch.load(folder/'2.pt', weights_only=True)
    assert same(dict(load_codes(folder/'1b.pt').model.state_dict()), state['base_model_state_dict'])

KILLED = '''
import sys
sys.path.insert(0, sys.argv[1])
from test_codes import *
from fastai.callback.core import Callback
class Die(Callback):
    order = 99
    def after_epoch(self):
        if self.epoch == 0 and self.n_epoch == 3: os._exit(9)
pretrain(data(), sys.argv[2] + '/killed.pt', folder=sys.argv[2] + '/run', epochs=3, cbs=[Die()] if sys.argv[3] == 'die' else [], **SMALL)
'''

def run(code, *args, launcher=()):
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'TEXTLAB_PROGRESS': '0', 'TEXTLAB_DEVICE': 'cpu'}
    path = Path(args[1])/'job.py'
    path.write_text(code)
    return subprocess.run([sys.executable, *launcher, str(path), *args], capture_output=True, text=True, env=env)

def test_a_killed_phase_goes_on_to_identical_weights(tmp_path):
    here = str(Path(__file__).parent)
    assert run(KILLED, here, str(tmp_path), 'die').returncode == 9
    assert (tmp_path/'run'/'warmup.pt').exists() and (tmp_path/'run'/'training'/'training_state.pt').exists()
    r = run(KILLED, here, str(tmp_path), 'live')
    assert r.returncode == 0, r.stderr[-2000:]
    whole = pretrain(data(), None, epochs=3, **SMALL).model.state_dict()
    assert same(whole, torch.load(tmp_path/'killed.pt', weights_only=True)['base_model_state_dict'])

KILLED_LATER = '''
import sys
sys.path.insert(0, sys.argv[1])
from test_codes import *
from fastai.callback.core import Callback
d, phase, die = Path(sys.argv[2]), sys.argv[3], sys.argv[4] == 'die'
class Die(Callback):
    order = 99
    def after_epoch(self):
        if self.epoch == 1: os._exit(9)
cbs, options = [Die()] if die else [], dict(device='cpu', epochs=3)
base = load_codes(d/'1.pt')
if phase == '1b': adapt(data(base.tokenizer, 5), base, d/'killed.pt', folder=d/'run', learning_rate=1e-2, cbs=cbs, **options)
else: align(pairs(), base, d/'killed.pt', folder=d/'run', batch_size=8, cbs=cbs, **options)
'''

@pytest.mark.parametrize('phase, part', [('1b', 'lora_state_dict'), ('2', 'adapter_state_dict')])
def test_a_killed_later_phase_goes_on_to_identical_weights(folder, tmp_path, phase, part):
    here = str(Path(__file__).parent)
    (tmp_path/'1.pt').write_bytes((folder/'1.pt').read_bytes())
    assert run(KILLED_LATER, here, str(tmp_path), phase, 'die').returncode == 9
    assert list((tmp_path/'run').rglob('training_state.pt')) and not (tmp_path/'killed.pt').exists()
    r = run(KILLED_LATER, here, str(tmp_path), phase, 'live')
    assert r.returncode == 0 and 'resuming' in r.stderr, r.stderr[-2000:]
    base, options = load_codes(folder/'1.pt'), dict(device='cpu', epochs=3)
    if phase == '1b': adapt(data(base.tokenizer, 5), base, tmp_path/'whole.pt', learning_rate=1e-2, **options)
    else: align(pairs(), base, tmp_path/'whole.pt', batch_size=8, **options)
    whole, killed = (torch.load(tmp_path/f'{name}.pt', weights_only=True)[part] for name in ('whole', 'killed'))
    assert same(whole, killed) and any(v.abs().sum() > 0 for v in whole.values())

def test_a_damaged_checkpoint_of_codes_is_refused_by_name(folder, tmp_path):
    "Flipped bits, cuts, zeroed blocks, another phase in its place: one line with the name of the file, or no difference"
    from test_attacks import harms
    def use(path):
        codes = load_codes(path, ({'1': '1a', '1b': '1b', '2': '2'}[path.stem],))
        return codes.model.state_dict()
    for name in ('1', '1b', '2'):
        data, file, refused = (folder/f'{name}.pt').read_bytes(), tmp_path/f'{name}.pt', 0
        other = (folder/('1b.pt' if name == '1' else '1.pt')).read_bytes()
        for what, bad in [*harms(data), ('swapped', other)]:
            file.write_bytes(bad)
            try: assert same(use(file), use(folder/f'{name}.pt')), what
            except ArtifactError as e:
                refused += 1
                assert '\n' not in str(e) and file.name in str(e), e
        assert refused >= 12

PHASES = '''
import sys
sys.path.insert(0, sys.argv[1])
from test_codes import *
d, kind = Path(sys.argv[2]), sys.argv[3]
pretrain(data(uncased=False), d/f'{kind}1.pt', restart=0., **SMALL) # no k-mer lies between two codes there
base = load_codes(d/'one1.pt')
adapt(data(base.tokenizer, 5), base, d/f'{kind}1b.pt', device='cpu')
align(pairs(), base, d/f'{kind}2.pt', device='cpu', batch_size=8, epochs=2)
'''

def test_two_processes_equal_one(tmp_path):
    here = str(Path(__file__).parent)
    two = '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2'
    for kind, launcher in (('one', ()), ('two', two)):
        r = run(PHASES, here, str(tmp_path), kind, launcher=launcher)
        assert r.returncode == 0, r.stderr[-3000:]
    for phase, part in (('1', 'base_model_state_dict'), ('1b', 'lora_state_dict'), ('2', 'adapter_state_dict')):
        one, other = (torch.load(tmp_path/f'{k}{phase}.pt', weights_only=True) for k in ('one', 'two'))
        for k in one[part]:
            # sums in another order can move a k-mer between two codes of the last k-means, and the decoder follows
            if phase == '1' and not k.startswith('encoder'): continue
            assert (one[part][k].float() - other[part][k].float()).abs().max() < 2e-3, (phase, k)
        if phase == '1': assert abs(one['metrics']['tokens'] - other['metrics']['tokens']) < .05

def test_wrong_input_has_clear_errors(folder, tmp_path):
    base, aligned = load_codes(folder/'1.pt'), load_codes(folder/'2.pt')
    with pytest.raises(ConfigError, match='phase 1b starts from phase 1a'): adapt(data(base.tokenizer), aligned, None)
    with pytest.raises(ConfigError, match='phase 2 starts from'): align(pairs(), aligned, None)
    with pytest.raises(ConfigError, match='another tokenizer'): adapt(data(seed=3), base, None)
    with pytest.raises(ArtifactError, match='phase 2, and one of phase 1a'): load_codes(folder/'2.pt', ('1a',))
    with pytest.raises(CorpusError, match='no text is at least 4 tokens'):
        prepare(['a', 'b'], base.tokenizer, embedder=Teacher())
    with pytest.raises(CorpusError, match='hold no text'): prepare([], embedder=Teacher())
    with pytest.raises(CorpusError, match='no pairs'): read_pairs([])
    with pytest.raises(ConfigError, match='have a width of 32'): pretrain(data(), None, **SMALL | dict(d_model=64))
    (tmp_path/'pairs.jsonl').write_text('{"query": "who?", "passage": "she"}\n{"query": "when?"}\n')
    with pytest.raises(CorpusError, match='row 2: no passage'): read_pairs(str(tmp_path/'pairs.jsonl'))
    torch.save({'weights': torch.zeros(2)}, tmp_path/'other.pt')
    with pytest.raises(ArtifactError, match='no checkpoint of the k-mer VQ-VAE'): load_codes(tmp_path/'other.pt')
    state = torch.load(folder/'1.pt', weights_only=True)
    state['base_config']['num_codes'] = 32
    torch.save(state, tmp_path/'shape.pt')
    with pytest.raises(ArtifactError, match='do not fit'): load_codes(tmp_path/'shape.pt')

def test_max_tokens_total_is_obeyed():
    found = prepare(texts(), vocab_size=320, embedder=Teacher(), max_tokens_total=1000, valid_share=.2)
    assert 900 < found.windows.length.sum() <= 1000

def test_workers_and_ranks_share_a_stream():
    from torch.utils.data import DataLoader, IterableDataset
    class Stream(IterableDataset):
        def __init__(self, rank): self.rank = rank
        def __iter__(self): return stream_texts(texts(40), rank=self.rank, world=2)
    read = [t for rank in range(2) for t in DataLoader(Stream(rank), batch_size=None, num_workers=2)]
    assert sorted(read) == sorted(texts(40))

LATE = [('--device gpu', "device='gpu' is not a torch device"), ('--device cuda:99', 'no such device'),
        ('--ridge -5', 'ridge=-5.0 must be at least'), ('--warmup -5', 'warmup=-5 must be at least 0'),
        ('--diversity_weight -3', 'diversity_weight=-3.0'), ('--teacher_weight nan', 'not a finite number'),
        ('--ema_decay 2', 'ema_decay=2.0 must be at most 1'), ('--d_model 64', 'have a width of 384'),
        ('--n_heads 5', 'not a multiple of 2 n_heads'), ('--window 62', 'not a multiple of kmer'),
        ('--epochs -1', 'epochs=-1')]

@pytest.mark.parametrize('option, said', LATE)
def test_what_cannot_be_trained_is_refused_before_the_teacher_reads(mistake, tmp_path, monkeypatch, option, said):
    monkeypatch.setattr(sys.modules[prepare.__module__], 'embed', lambda *a, **k: pytest.fail('the teacher reads'))
    assert said in mistake('codes', 'pretrain', 'lee', '--out', tmp_path/'1.pt', *option.split())

def test_a_mistake_that_shows_late_keeps_the_vectors_of_the_teacher(say, tmp_path):
    (tmp_path/'texts.txt').write_text('\n'.join(t[:90] for t in texts(12)))
    argv = 'codes', 'pretrain', tmp_path/'texts.txt', '--vocab_size', '320', '--n_layers', 1, '--out', tmp_path/'1.pt'
    status, _, err = say(*argv, '--num_codes', '100000')
    assert status == 2 and 'cannot make 100,000 codes' in err and 'keeps what was done so far' in err
    assert [p.name for p in (tmp_path/'1.pt.partial').iterdir()] == ['vectors']
    when = {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*.npy')}
    assert say(*argv, '--num_codes', '100000')[0] == 2
    assert when and {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*.npy')} == when
    assert say(*argv, '--num_codes', '8', '--warmup', 16, '--refit', 16, '--device', 'cpu')[0] == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ['1.pt', 'texts.txt']

def test_options_of_the_later_phases_are_refused_at_once(folder):
    base = load_codes(folder/'1.pt')
    always = dict(learning_rate=-1), dict(epochs=0)
    for wrong in (*always, dict(teacher_weight=-1), dict(lora_rank=0), dict(device='gpu')):
        with pytest.raises(ConfigError, match=next(iter(wrong))): adapt(data(base.tokenizer, 5), base, None, **wrong)
    for wrong in (*always, dict(temperature=0), dict(match_weight=-1), dict(batch_size=0)):
        with pytest.raises(ConfigError, match=next(iter(wrong))): align(pairs(), base, None, **wrong)
