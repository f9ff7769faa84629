"What the page of textlab.embed cannot show: killed processes, processes that share the work, full disks, any text at all"
import contextlib, errno, json, os, resource, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pytest, torch
from gensim.test.utils import datapath
from hypothesis import HealthCheck, given, settings, strategies as st
from textlab.core import EmbeddingError, TextlabError
from textlab.embed import (MINILM_SHA256, MODEL_SIZES, Embedder, embed, load_embedder, load_embeddings,
                           mean_pool, last_token_pool, pad_tokens, save_embeddings, texts_of)

REPO = Path(__file__).parents[1]
quick = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
leads = [t.split('. ')[0] for t in Path(datapath('lee.cor')).read_text('latin-1').strip().split('\n')]


class Net:
    "Counts letters and the texts it has read; as fast as a test wants a network to be"
    def __init__(self): self.seen = []
    def __call__(self, texts):
        self.seen += texts
        return torch.tensor([[t.count(c) + .5 for c in 'abcdefgh'] for t in texts])


def letters(net=None, weights='letters'): return Embedder('letters', 8, lambda: net or Net(), weights=weights, batch_size=4)


@quick
@given(st.lists(st.text() | st.text(st.characters(categories=['Cs', 'Ll'])), max_size=12), st.integers(1, 7))
def test_any_texts_in_any_batches(texts, size):
    e = letters(); X = e.encode(texts, batch_size=size)
    assert X.shape == (len(texts), 8) and X.dtype == np.float32
    for x, t in zip(X, texts): np.testing.assert_array_equal(x, e.encode([t])[0])


@quick
@given(st.lists(st.text(max_size=20), max_size=12), st.integers(1, 7), st.integers(1, 5))
def test_a_cache_gives_what_memory_gives(tmp_path, texts, shard, batch):
    X = embed(texts, letters(), cache_dir=tmp_path/'cache', shard_size=shard, batch_size=batch)
    np.testing.assert_array_equal(X, letters().encode(texts))
    net = Net()
    np.testing.assert_array_equal(embed(texts, letters(net), cache_dir=tmp_path/'cache'), X)
    assert net.seen == []


@quick
@given(st.lists(st.text(max_size=5), min_size=1, max_size=6), st.lists(st.text(max_size=5), min_size=1, max_size=6))
def test_other_texts_never_get_these_vectors(tmp_path, a, b):
    embed(a, letters(), cache_dir=tmp_path/'cache')
    np.testing.assert_array_equal(embed(b, letters(), cache_dir=tmp_path/'cache'), letters().encode(b))


@quick
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=5), st.booleans())
def test_pooling_sees_no_padding(ids, left):
    ids_, mask = pad_tokens(ids, 0, left)
    hidden = ids_.unsqueeze(-1).float() + 100*(1 - mask.unsqueeze(-1))
    assert last_token_pool(hidden, mask).squeeze(1).tolist() == [i[-1] for i in ids]
    np.testing.assert_allclose(mean_pool(hidden, mask).squeeze(1), [np.mean(i) for i in ids], rtol=1e-6)


def test_other_weights_another_folder(tmp_path):
    embed(leads, letters(), cache_dir=tmp_path); net = Net()
    embed(leads, letters(net, weights='retrained'), cache_dir=tmp_path)
    assert len(net.seen) == len(leads) and len(list(tmp_path.iterdir())) == 2


def test_names_that_are_no_folder_names(tmp_path):
    for name in ('a/b', '../up', 'lm:./x y', '...', 'ä'):
        e = Embedder(name, 8, lambda: Net(), weights='w')
        embed(['a'], e, cache_dir=tmp_path/'cache')
    assert [p.name for p in tmp_path.iterdir()] == ['cache']


def run(code, *args, **env):
    path = os.pathsep.join([str(REPO), os.environ.get('PYTHONPATH', '')])
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'TOKENIZERS_PARALLELISM': 'false', 'PYTHONPATH': path} | env
    command, pipe = [sys.executable, '-c', code, *map(str, args)], subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env)


REAL = """
import json, sys, time
from pathlib import Path
from gensim.test.utils import datapath
from textlab.embed import embed, load_embedder
leads = [t.split('. ')[0] for t in Path(datapath('lee.cor')).read_text('latin-1').strip().split('\\n')]
e = load_embedder('minilm', device='cpu'); network, seen, pause = e.network, [], float(sys.argv[2])
def counting(texts):
    seen.extend(texts); time.sleep(pause)
    return network(texts)
e.network = counting
X = embed(leads, e, cache_dir=sys.argv[1], shard_size=5, batch_size=2)
print(json.dumps([len(seen), X.shape, float(X.sum())]))
"""


@pytest.fixture(scope='module')
def truth(): return load_embedder('minilm', device='cpu').encode(leads)


def vectors(cache): return np.load(next(cache.glob('*/embeddings.npy')))


def test_sigkill_and_resume(tmp_path, truth):
    "A real process with real weights dies by SIGKILL between two batches of a shard; the next one reads only what is not done"
    child = run(REAL, tmp_path, .3)
    until = time.monotonic() + 120
    while not list(tmp_path.glob('*/shard-00002.npy')):
        assert child.poll() is None and time.monotonic() < until, child.stderr.read()
        time.sleep(.01)
    child.send_signal(signal.SIGKILL); child.communicate()
    done = {p: p.stat().st_ino for p in tmp_path.glob('*/shard-*.npy')}
    assert 3 <= len(done) < 10 and not list(tmp_path.glob('*/embeddings.npy'))
    next(iter(done)).with_name('.shard-00009.npy.abc').mkdir()  # what a kill in the middle of a write leaves
    out, err = run(REAL, tmp_path, 0).communicate(timeout=120)
    assert json.loads(out)[0] == len(leads) - 5*len(done), err
    assert f'{len(done)} of 10 shards are there already' in err
    np.testing.assert_allclose(vectors(tmp_path), truth, atol=1e-5)
    assert sorted(p.name for p in next(tmp_path.iterdir()).iterdir()) == ['embeddings.npy', 'manifest.json']


def test_two_processes_share_the_work(tmp_path, truth):
    kids = [run(REAL, tmp_path, 0, RANK=str(r), WORLD_SIZE='2') for r in range(2)]
    outs = [k.communicate(timeout=180) for k in kids]
    assert [k.returncode for k in kids] == [0, 0], outs
    (seen0, shape0, sum0), (seen1, shape1, sum1) = (json.loads(o) for o, _ in outs)
    assert (seen0, seen1) == (25, 25) and shape0 == shape1 == [50, 384] and sum0 == sum1
    np.testing.assert_allclose(vectors(tmp_path), truth, atol=1e-5)


def test_a_rank_that_died_is_made_up_for(tmp_path):
    with pytest.raises(EmbeddingError, match='start the missing process again'):
        embed(leads, letters(), cache_dir=tmp_path, shard_size=10, rank=1, world_size=3, patience=.2)
    net = Net(); X = embed(leads, letters(net), cache_dir=tmp_path)
    assert len(net.seen) == 30
    np.testing.assert_array_equal(X, letters().encode(leads))


def test_a_damaged_shard_or_result_is_made_again(tmp_path):
    embed(leads, letters(), cache_dir=tmp_path, shard_size=10)
    file = next(tmp_path.glob('*/embeddings.npy')); data = file.read_bytes()
    np.save(tmp_path/'other.npy', np.ones((3, 8), dtype=np.float32)); other = (tmp_path/'other.npy').read_bytes()
    for broken in (data[:100], b'', data[:-1], other):
        file.write_bytes(broken); net = Net()
        np.testing.assert_array_equal(embed(leads, letters(net), cache_dir=tmp_path), letters().encode(leads))
        assert len(net.seen) == 50
    file.unlink(); (file.parent/'shard-00001.npy').write_bytes(data[:200]); (file.parent/'manifest.json').write_text('{')
    np.testing.assert_array_equal(embed(leads, letters(), cache_dir=tmp_path, shard_size=10), letters().encode(leads))


@contextlib.contextmanager
def small_files(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try: yield
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def unprivileged():
    root = os.geteuid() == 0
    if root: os.seteuid(65534)
    try: yield
    finally:
        if root: os.seteuid(0)


def test_a_full_disk(tmp_path, monkeypatch):
    "The shards fit, the joined file does not: one line, the shards stay, and with room again nothing is read twice"
    with small_files(900), pytest.raises(TextlabError, match=r'cannot write .*embeddings\.npy'):
        embed(leads, letters(), cache_dir=tmp_path, shard_size=10)
    assert sorted(p.name for p in next(tmp_path.iterdir()).iterdir()) == ['manifest.json'] + [f'shard-{i:05}.npy' for i in range(5)]
    net = Net(); embed(leads, letters(net), cache_dir=tmp_path)
    assert net.seen == []
    with small_files(100), pytest.raises(TextlabError, match='cannot write'): save_embeddings(tmp_path/'x.npy', np.ones((50, 8)))
    assert not (tmp_path/'x.npy').exists()


def test_no_space_left_is_said_in_english(tmp_path, monkeypatch):
    def full(*args): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(np.lib.format, 'write_array_header_1_0', full)
    with pytest.raises(TextlabError, match='the disk is full'): embed(leads, letters(), cache_dir=tmp_path)
    assert not list(tmp_path.glob('*/*.npy'))


def test_a_read_only_cache(tmp_path):
    "One that is complete serves; one that would have to be written says why it cannot"
    for p in [tmp_path, *list(tmp_path.parents)[:2]]: p.chmod(0o755)
    cache = tmp_path/'cache'; X = embed(leads, letters(), cache_dir=cache)
    for p in [cache, *cache.iterdir()]: p.chmod(0o555)
    with unprivileged():
        np.testing.assert_array_equal(embed(leads, letters(), cache_dir=cache), X)
        with pytest.raises(TextlabError, match='cannot write .*permission denied'): embed(leads[:3], letters(), cache_dir=cache)
    with pytest.raises(TextlabError, match='cannot write .*file'):
        (tmp_path/'file').write_text(''); embed(leads, letters(), cache_dir=tmp_path/'file'/'cache')


def test_no_home_and_no_hub(tmp_path):
    "MiniLM loads without a word; what is not here is one line each, without waiting"
    code = """
import sys, time
from textlab.core import EmbeddingError
from textlab.embed import load_embedder
X = load_embedder().encode(['fire'])
print(X.shape, 'sentence_transformers' in sys.modules)
start = time.monotonic()
for name in ('0.6B', '4B', '8B', 'nobody/nothing'):
    try: load_embedder(name)
    except EmbeddingError as e: print(e)
print(time.monotonic() - start)
"""
    nowhere = dict(HOME=str(tmp_path), HF_HOME=str(tmp_path/'hf'), HF_ENDPOINT='http://127.0.0.1:9', https_proxy='')
    out, err = run(code, **nowhere).communicate(timeout=120)
    first, *lines, seconds = out.splitlines()
    assert first == '(1, 384) False' and err == ''
    for line, name in zip(lines, [*(m.repo for m in MODEL_SIZES.values()), 'nobody/nothing'], strict=True):
        assert f'the weights of {name} ' in line and '--embedder minilm' in line
    assert float(seconds) < 30


def test_the_specified_sizes():
    sizes = {k: (m.dim, m.embed_batch, m.train_batch) for k, m in MODEL_SIZES.items()}
    assert sizes == {'0.6B': (1024, 32, 64), '4B': (2560, 16, 32), '8B': (4096, 8, 16)}
    assert load_embedder().fingerprint != load_embedder(max_tokens=128).fingerprint and len(MINILM_SHA256) == 64


def test_a_data_set_of_the_datasets_package():
    from datasets import Dataset
    ds = Dataset.from_dict(dict(id=['a', 'b'], text=['x', 'y'], title=['T', None], label=['0', '1']))
    assert texts_of(ds) == ['T. x', 'y'] == texts_of(ds.to_iterable_dataset()) and texts_of(ds, with_title=False) == ['x', 'y']
    with pytest.raises(EmbeddingError, match="no column 'text'"): texts_of(ds.remove_columns('text'))


@pytest.mark.parametrize('bad', [
    dict(batch_size=0), dict(shard_size=0), dict(rank=2, world_size=2), dict(world_size=0), dict(rank=-1),
    dict(with_title='yes'), dict(embedder='minilm', batch_size='many')])
def test_options_out_of_range(tmp_path, bad):
    with pytest.raises(TextlabError): embed(leads[:2], **{'embedder': letters(), 'cache_dir': tmp_path} | bad)


def test_vectors_of_any_width_travel_by_file(tmp_path):
    X = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    for given in (X, X.astype(np.float64), np.asfortranarray(X), torch.from_numpy(X), X[:0], np.tile(X, (999, 1))):
        back = load_embeddings(save_embeddings(tmp_path/'x.npy', given))
        np.testing.assert_array_equal(back, np.asarray(given, dtype=np.float32))
    X[3, 1] = np.nan; np.save(tmp_path/'nan.npy', X)
    with pytest.raises(EmbeddingError, match='row 3 holds NaN'): load_embeddings(tmp_path/'nan.npy')


def test_only_an_embedder_with_a_name_is_recommended_in_chunks(capfd):
    "One that was fine-tuned reads what it was tuned on; `chunks:` before its name would be the embedder that it came from"
    long = ["word "*600]*3 + ["short"]
    embed(long[2:], load_embedder('minilm', device='cpu'))
    assert 'first' not in capfd.readouterr().err                            # one of two is not most of them
    embed(long, load_embedder('minilm', device='cpu'))
    assert '3 of 4 texts are longer; the embedder chunks:' in capfd.readouterr().err
    embed(long, Embedder('tuned', 8, Net, weights='tuned', max_tokens=128))
    said = capfd.readouterr().err
    assert 'tuned reads the first 128 tokens of a text, and 3 of 4 texts are longer\n' in said and 'chunks' not in said
