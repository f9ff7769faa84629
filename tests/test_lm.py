"""Language models where a page cannot go: any string at all, killed processes, a new process, folders that were tampered with."""
import os, shutil, signal, subprocess, sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from textlab.artifacts import load_artifact
from textlab.core import ArtifactError, ConfigError, CorpusError, TextlabError, TrainingError
from textlab.corpus import load_corpus
from textlab.lm import DocumentEncoder, LanguageModel
from textlab.lm.lstm import LSTMModel, WindowLoader, document_windows
from textlab.lm.transformer import TransformerModel, token_probabilities
from textlab.tokenizer import BPETokenizer, learn_bpe, pack

ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'TEXTLAB_PROGRESS': '0', 'TEXTLAB_DEVICE': 'cpu', 'TOKENIZERS_PARALLELISM': 'false'}
ANYTHING = st.text(alphabet=st.one_of(st.characters(), st.characters(categories=['Cs'])))  # half surrogates too
VALID = st.text(alphabet=st.characters(exclude_categories=['Cs']))


def run(body: str, *args: str, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run([sys.executable, '-c', body, *args], capture_output=True, text=True, env=ENV, timeout=200)
    if check: assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope='module')
def texts(): return list(load_corpus('lee')['text'])


@pytest.fixture(scope='module')
def tokenizer(texts): return BPETokenizer.train(texts, 600)


@pytest.mark.parametrize('make', [lambda **o: LanguageModel(epochs=1, vocab_size=300, dim=16, seq_len=16, batch_size=4, **o),
                                  lambda **o: DocumentEncoder(epochs=1, dim=16, fixed_dim=16, **o)])
def test_verbose_decides_over_the_surroundings_and_changes_nothing_else(texts, make, capfd, monkeypatch, tmp_path):
    monkeypatch.delenv('TEXTLAB_PROGRESS', raising=False)
    quiet = make(verbose=False).fit(texts[:20])
    assert 'epoch' not in capfd.readouterr().err
    monkeypatch.setenv('TEXTLAB_PROGRESS', '0')
    make().fit(texts[:20])
    assert 'epoch' not in capfd.readouterr().err
    loud = make(verbose=True).fit(texts[:20])
    assert 'epoch' in capfd.readouterr().err
    assert loud.as_embedder().fingerprint == quiet.as_embedder().fingerprint
    assert load_artifact(loud.save(tmp_path/'m')).verbose is None


# --- tokens ---------------------------------------------------------------------------------------

@given(ANYTHING)
def test_any_string_comes_back(tokenizer, s):
    ids = tokenizer.encode(s)
    assert tokenizer.decode(ids) == s
    assert all(0 <= i < tokenizer.vocab_size and i != tokenizer.eos_id for i in ids)


@given(st.lists(ANYTHING, min_size=1, max_size=5))
def test_a_stream_is_its_documents(tokenizer, documents):
    stream = pack(tokenizer, documents)
    ends = np.flatnonzero(stream == tokenizer.eos_id)
    assert len(ends) == len(documents) and ends[-1] == len(stream) - 1
    assert [tokenizer.decode(part) for part in np.split(stream, ends + 1)[:-1]] == documents
    assert [ids.tolist() for ids in tokenizer.encode_batch(documents, block=2)] == [tokenizer.encode(d) for d in documents]


def test_transformers_reads_the_same_numbers(tokenizer, texts, tmp_path):
    from transformers import PreTrainedTokenizerFast
    tokenizer.to_transformers().save_pretrained(tmp_path)
    other = PreTrainedTokenizerFast.from_pretrained(tmp_path)

    @given(VALID)
    @settings(max_examples=60)
    def same(s): assert other(s)['input_ids'] == tokenizer.encode(s)
    same()
    for t in [*texts[:20], 'a <eos> b', '  two  blanks\n\n']: assert other(t)['input_ids'] == tokenizer.encode(t)


def library_merges(text: str, n: int) -> list[tuple[str, str]]:
    import json
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + n, initial_alphabet=alphabet, show_progress=False)
    tok.train_from_iterator([text], trainer)
    return [tuple(pair) for pair in json.loads(tok.to_str())['model']['merges']]


@pytest.mark.parametrize('part', range(4))
def test_the_merge_rule_is_the_library_s(texts, part):
    text = ' '.join(texts[4*part:4*part + 4])
    assert learn_bpe(text, 80) == library_merges(text, 80)


@given(st.text(alphabet='abcd é', max_size=60))
@settings(max_examples=60)
def test_ties_are_broken_as_the_library_does(text):
    if any(letter*2 in text for letter in 'abcdé'): return  # runs are counted differently
    assert learn_bpe(text, 12) == library_merges(text, 12)


def test_a_tokenizer_folder_that_was_changed_is_refused(tokenizer, tmp_path):
    folder = tokenizer.save(tmp_path/'t')
    assert load_artifact(folder).to_json() == tokenizer.to_json()
    (folder/'tokenizer.json').write_text('{}')
    with pytest.raises(ArtifactError, match='tokenizer.json'): BPETokenizer.load(folder)
    with pytest.raises(ArtifactError, match='no tokenizer.json'): BPETokenizer.from_json({})
    parts = ('truncation', 'padding', 'normalizer', 'pre_tokenizer', 'post_processor', 'decoder')
    words = {'type': 'WordLevel', 'vocab': {'<eos>': 0, 'a': 1}, 'unk_token': 'a'}
    with pytest.raises(ConfigError, match='not byte-level'):
        BPETokenizer.from_json({'version': '1.0', 'added_tokens': [], 'model': words} | dict.fromkeys(parts))


# --- windows --------------------------------------------------------------------------------------

@given(st.integers(34, 400), st.integers(1, 8), st.booleans(), st.integers(0, 3))
@settings(max_examples=60)
def test_an_epoch_reads_each_place_once(n, bs, carry, epoch):
    loader = WindowLoader(np.arange(n, dtype=np.uint16), seq_len=16, bs=bs, carry=carry, shuffle=True)
    loader.epoch = epoch
    x, y = (torch.cat(part).flatten() for part in zip(*loader))
    assert len(x) == len(x.unique()) == len(loader)*loader.bs*16 > (n - 1) - 16*bs
    assert torch.equal(y, (x + 1) % n)


@given(st.integers(0, 50), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=60)
def test_windows_count_each_target_once(length, seq_len, stride):
    ids = np.arange(1, length + 1)
    windows = list(document_windows([ids], 0, seq_len, min(stride, seq_len)))
    assert np.concatenate([w.targets for w in windows]).tolist() == [*ids, 0]
    assert all(len(w.tokens) <= seq_len + 1 and w.counted >= 0 for w in windows)


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=12), st.floats(.05, 5), st.integers(1, 12), st.floats(.01, 1))
def test_what_is_drawn_from_is_a_distribution(logits, temperature, top_k, top_p):
    p = token_probabilities(torch.tensor(logits), temperature, top_k, top_p)
    assert abs(float(p.sum()) - 1) < 1e-9 and (p > 0).sum() <= top_k and p[torch.tensor(logits).argmax()] > 0


# --- models ---------------------------------------------------------------------------------------

def small(arch: str, **options) -> LanguageModel:
    return LanguageModel(arch, **dict(vocab_size=300, seq_len=24, batch_size=8, epochs=3, dim=24, seed=1, dropout=.2) | options)


@pytest.fixture(scope='module')
def trained(texts, tmp_path_factory):
    "Both architectures, trained into one folder of checkpoints, and saved"
    home = tmp_path_factory.mktemp('lm')
    models = {arch: small(arch).fit(texts[:30], checkpoint_dir=home/'checkpoints') for arch in ('lstm', 'transformer')}
    return {arch: (model, model.save(home/arch)) for arch, model in models.items()} | {'home': home}


def test_the_checkpoints_have_their_names_and_hold_tensors(trained):
    found = trained['home']/'checkpoints'
    names = {f'{arch}_bpe_{kind}.pt' for arch in ('lstm', 'transformer') for kind in ('best', 'final')}
    assert {p.name for p in found.iterdir() if p.is_file()} == names
    nets = {'lstm': LSTMModel(301, 24, 24, 2), 'transformer': TransformerModel(301, 24, 3, 4, 96)}
    for arch, net in nets.items():
        net.load_state_dict(torch.load(found/f'{arch}_bpe_best.pt', weights_only=True))
        for a, b in zip(net.parameters(), trained[arch][0].network_.parameters()): assert torch.equal(a, b)


ANEW = '''
import sys, numpy as np
from textlab.embed import load_embedder
from textlab.lm import LanguageModel
np.save(sys.argv[2], load_embedder('lm:' + sys.argv[1]).encode(['one text', 'another']))
m = LanguageModel.load(sys.argv[1])
print(repr(m.generate('The', 40, top_p=.9, seed=5)), m.evaluate(['Some text to judge.'])['perplexity'])
'''


@pytest.mark.parametrize('arch', ['lstm', 'transformer'])
def test_a_new_process_writes_embeds_and_judges_the_same(trained, texts, arch, tmp_path):
    model, folder = trained[arch]
    said = run(ANEW, str(folder), str(tmp_path/'x.npy')).stdout
    perplexity = model.evaluate(['Some text to judge.'])['perplexity']
    assert said.strip() == f"{model.generate('The', 40, top_p=.9, seed=5)!r} {perplexity}"
    assert np.array_equal(np.load(tmp_path/'x.npy'), model.as_embedder('cpu').encode(['one text', 'another']))


@pytest.mark.parametrize('arch', ['lstm', 'transformer'])
@given(prompt=ANYTHING)
@settings(max_examples=15)
def test_any_prompt_can_be_continued(trained, arch, prompt):
    assert trained[arch][0].generate(prompt, 3).startswith(prompt)


KILLED = '''
import os, signal, sys
from fastai.callback.core import Callback
from textlab.corpus import load_corpus
from textlab.lm import LanguageModel
class Kill(Callback):
    order = 90
    def after_epoch(self):
        if self.epoch == 1: os.kill(os.getpid(), signal.SIGKILL)
model = LanguageModel('lstm', vocab_size=300, seq_len=24, batch_size=8, epochs=3, dim=24, seed=1, dropout=.2)
model.fit(list(load_corpus('lee')['text'])[:30], checkpoint_dir=sys.argv[1], cbs=[Kill()])
'''


def test_a_killed_run_ends_where_an_unbroken_one_does(trained, texts, tmp_path):
    assert run(KILLED, str(tmp_path), check=False).returncode == -signal.SIGKILL
    assert (tmp_path/'lstm'/'training_state.pt').exists() and (tmp_path/'lstm_bpe_best.pt').exists()
    with pytest.raises(TrainingError, match='other data or options'):
        small('lstm', learning_rate=1e-3).fit(texts[:30], checkpoint_dir=tmp_path)
    torch.manual_seed(99)
    model = small('lstm').fit(texts[:30], checkpoint_dir=tmp_path)
    unbroken = trained['lstm'][0].network_.state_dict()
    for a, b in zip(model.network_.state_dict().values(), unbroken.values()): assert torch.equal(a, b)
    assert model.history_['epoch'] == [0, 1, 2]


def test_mistakes_are_told_in_one_line(trained, texts, tmp_path):
    model, folder = trained['lstm']
    with pytest.raises(ConfigError, match="arch='gpt'"): LanguageModel('gpt').fit(texts)
    with pytest.raises(CorpusError, match='no row|no text|empty|nothing'): LanguageModel().fit([])
    with pytest.raises(TextlabError, match='not fitted'): LanguageModel().save(tmp_path/'x')
    assert not (tmp_path/'x').exists()
    with pytest.raises(ConfigError, match='temperature'): model.generate('x', temperature=float('nan'))
    with pytest.raises(ConfigError, match='dropout'): small('lstm', dropout=1.).fit(texts)
    copy = Path(shutil.copytree(folder, folder.parent/'copy'))
    weights = copy/'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match='truncated'): LanguageModel.load(copy)
