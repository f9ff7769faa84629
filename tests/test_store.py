"What the page of textlab.store cannot show: processes that are killed, read while another writes, or write at once; any vectors at all."
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from textlab.core import ArtifactError, ConfigError, CorpusError, EmbeddingError, MissingExtraError, TextlabError, seal
from textlab.corpus import load_corpus
from textlab.store import Store, best_rows, latency, read_about, record_batches, rounding, top_rows, unit_rows

pytest.importorskip('lancedb')
quick = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
E = 8


def vectors(n, seed=0): return unit_rows(np.random.default_rng(seed).normal(size=(n, E)).astype(np.float32))


def passages(n, start=0):
    return load_corpus([{'id': f'p{i}', 'title': f'title {i}', 'text': f'text of {i}'} for i in range(start, start + n)])


def build(path, n=40, **kwargs): return Store.build(path, passages(n), vectors(n), embedder='noise', **kwargs)


def python(code, *args, **kwargs):
    "A process of its own"
    return subprocess.Popen([sys.executable, '-c', code, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            cwd=Path(__file__).parent, env=os.environ | {'OMP_NUM_THREADS': '1'}, **kwargs)


def answer(store, **kwargs):
    hits = store.search(vectors(5, 1), 7, **kwargs)
    return hits.ids, hits.scores.tolist()


# --- exactness -----------------------------------------------------------------------------------

few = st.sampled_from([-1., -.5, 0., .5, 1., 1e-4, 3.])                       # few values: ties, duplicates and zeros are common


@quick
@given(arrays(np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=few),
       arrays(np.float32, (4, 3), elements=few), st.integers(1, 12), st.integers(1, 60))
def test_the_order_is_that_of_a_stable_sort(X, Q, k, cells):
    X, Q = unit_rows(X), unit_rows(Q)
    for q, (rows, scores) in zip(Q, top_rows(X, Q, k, cells)):
        true = (X.astype(np.float64) * q).sum(axis=1)
        want = np.argsort(-true, kind='stable')[:k]
        assert rows.tolist() == want.tolist() and scores.tolist() == true[want].tolist()


@pytest.mark.parametrize('dim', [3, 384, 4096])
def test_float32_stays_within_the_bound(dim):
    rng = np.random.default_rng(dim)
    for X in (rng.normal(size=(200, dim)), np.abs(rng.normal(size=(200, dim)))):
        X = unit_rows(X.astype(np.float32))
        true = X.astype(np.float64) @ X.astype(np.float64).T
        assert np.abs(X @ X.T - true).max() < rounding(dim)
        assert np.abs(np.array([[np.add.accumulate(x * y)[-1] for y in X[:20]] for x in X[:20]]) - true[:20, :20]).max() < rounding(dim)


def test_neighbours_closer_than_float32_can_tell(tmp_path):
    "Thousands of rows whose true order is below the resolution of a float32 sum"
    rng = np.random.default_rng(3)
    X = unit_rows((np.ones((3000, 64)) + rng.normal(size=(3000, 64)) * 3e-7).astype(np.float32))
    Q = unit_rows(rng.normal(size=(3, 64)).astype(np.float32) * .1 + 1)
    store = Store.build(tmp_path/'s', passages(3000), X, embedder='noise')
    a, b = (store.search(Q, 10, engine=e) for e in ('memory', 'lancedb'))
    assert a.ids == b.ids and (a.scores == b.scores).all()
    for q, ids in zip(Q, a.ids): assert ids == [f'p{i}' for i in np.argsort(-(X.astype(np.float64) * q).sum(axis=1), kind='stable')[:10]]


@quick
@given(st.data())
def test_both_engines_and_the_filter_agree_with_a_loop(tmp_path, data):
    n = data.draw(st.integers(1, 25))
    X = data.draw(arrays(np.float32, (n, 3), elements=few))
    codes = data.draw(st.lists(st.lists(st.integers(0, 6), max_size=3), min_size=n, max_size=n))
    Q, k = data.draw(arrays(np.float32, (3, 3), elements=few)), data.draw(st.integers(1, 30))
    asked = data.draw(st.none() | st.lists(st.lists(st.integers(0, 8), max_size=4), min_size=3, max_size=3))
    store = Store.build(tmp_path/'s', passages(n), X, embedder='noise', codes=codes, overwrite=True)
    a, b = (store.search(Q, k, codes=asked, engine=e) for e in ('memory', 'lancedb'))
    assert a.ids == b.ids and (a.scores == b.scores).all()
    for i, q in enumerate(unit_rows(Q)):
        open_ = [r for r in range(n) if asked is None or set(asked[i]) & set(codes[r])] if asked is None or asked else []
        true = (unit_rows(X).astype(np.float64) * q).sum(axis=1)
        assert a.ids[i] == [f'p{r}' for r in sorted(open_, key=lambda r: (-true[r], r))[:k]]


def test_batches_of_any_size(tmp_path):
    X, ds = vectors(50), passages(50)
    for size in (1, 7, 50, 99):
        rows = [r for b in record_batches(ds, X, None, size=size) for r in b.to_pylist()]
        assert [r['row'] for r in rows] == list(range(50)) and [r['id'] for r in rows] == ds['id'][:]
        assert np.array_equal(np.array([r['vector'] for r in rows], np.float32), X)


# --- what is kept --------------------------------------------------------------------------------

def test_anything_that_is_text_comes_back(tmp_path):
    odd = [("it's", 'a "b"', 'line\nline'), ('日本', '', '🦓\u0000\t'), (' ; DROP', "'", 'x' * 100_000), ('%_\\', '—', '\\')]
    rows = [{'id': i, 'title': t, 'text': x} for i, t, x in odd]
    store = Store.build(tmp_path/"a 'b' store", load_corpus(rows), vectors(4), embedder='noise', codes=[[0], [2**62], [], [1, 2, 3]])
    assert store.ids == load_corpus(rows)['id'][:]
    for given_, got in zip(load_corpus(rows), store.get(store.ids)): assert {k: got[k] for k in given_} == given_
    assert [r['id'] for r in store.get(store.ids[::-1] + store.ids[:1])] == store.ids[::-1] + store.ids[:1]
    assert store.search(vectors(4), codes=[2**62], engine='lancedb').ids[0] == ['日本']
    assert store.delete("it's") == 3 and store.get([]) == []


def test_a_slice_of_a_corpus_without_titles(tmp_path):
    ds = passages(20).remove_columns('title').filter(lambda r: int(r['id'][1:]) % 2, load_from_cache_file=False)
    store = Store.build(tmp_path/'s', ds, vectors(10), embedder='noise')
    assert store.ids == ds['id'][:] and store.corpus()['title'][:] == ['']*10 and store.corpus()['text'][:] == ds['text'][:]


@pytest.mark.filterwarnings('ignore:optimize')
def test_adding_in_pieces_is_adding_at_once(tmp_path):
    whole, parts = build(tmp_path/'a', 60, codes=np.arange(60) % 5), build(tmp_path/'b', 20, codes=np.arange(20) % 5)
    for a in (20, 40): parts.add(passages(20, a), vectors(60)[a:a + 20], np.arange(a, a + 20) % 5)
    for compacted in (False, True):
        if compacted: parts.compact(older_than=0)
        assert parts.ids == whole.ids and (parts.vectors == whole.vectors).all()
        for kwargs in ({}, {'engine': 'lancedb'}, {'codes': [1, 3]}, {'codes': [1, 3], 'engine': 'lancedb'}):
            assert answer(parts, **kwargs) == answer(whole, **kwargs)
    gone = whole.ids[5:50:3]
    for store in (whole, parts): store.delete(gone)
    assert answer(parts) == answer(whole) == answer(parts, engine='lancedb') and not set(gone) & set(parts.ids)


def test_memory_is_only_used_where_it_suffices(tmp_path):
    build(tmp_path/'s')
    small, large = Store.open(tmp_path/'s', memory_limit=40 * E * 4 - 1), Store.open(tmp_path/'s', memory_limit=40 * E * 4)
    assert answer(small) == answer(large) and 'vectors' not in vars(small) and 'vectors' in vars(large)
    assert (small.info()['engine'], large.info()['engine']) == ('lancedb', 'memory')


# --- embedders, mistakes -------------------------------------------------------------------------

class Made:
    def __init__(self, name, fingerprint): self.name, self.fingerprint = name, fingerprint


def test_whose_vectors(tmp_path):
    Store.build(tmp_path/'s', passages(3), vectors(3), embedder=Made('run/one', 'aaaa1111bbbb'))
    Store.open(tmp_path/'s', embedder=Made('moved/elsewhere', 'aaaa1111bbbb'))
    Store.open(tmp_path/'s', embedder='run/one')
    for other in (Made('run/one', 'cccc'), 'run/two'):
        with pytest.raises(EmbeddingError, match='run/one.*not of.*run/(one|two)'): Store.open(tmp_path/'s', embedder=other)
    with pytest.raises(EmbeddingError, match="5 wide, where .* 'run/one', 8 wide"): Store.open(tmp_path/'s').search(np.ones((2, 5)))


@pytest.mark.parametrize('embedder', [None, '', 3])
def test_an_embedder_has_a_name(tmp_path, embedder):
    with pytest.raises(ConfigError, match='embedder'): Store.build(tmp_path/'s', passages(3), vectors(3), embedder=embedder)


def test_a_mistake_changes_nothing(tmp_path):
    store = build(tmp_path/'s', codes=np.arange(40)); before = answer(store), store.version
    bad = vectors(2); bad[1, 1] = np.inf
    twice = [{'id': 'x', 'text': 'a'}, {'id': 'x', 'text': 'b'}]
    mistakes = [
        (lambda: store.add(passages(2, 39), vectors(2), [1, 1]), CorpusError),
        (lambda: store.add(passages(2, 90), bad, [1, 1]), EmbeddingError),
        (lambda: store.add(passages(2, 90), vectors(2), [1]), ConfigError),
        (lambda: store.add(twice, vectors(2), [1, 1]), CorpusError),
        (lambda: store.add(passages(2, 90), vectors(2), [1, 1], embedder='other'), EmbeddingError),
        (lambda: store.delete(['p1', 'p99']), CorpusError),
        (lambda: store.get([1]), CorpusError),
        (lambda: store.search(np.zeros((2, 0))), EmbeddingError),
        (lambda: store.search('what?'), EmbeddingError),
        (lambda: store.search(vectors(2), codes=[[1]]), ConfigError),
        (lambda: store.search(vectors(2), k='many'), ConfigError),
        (lambda: latency(len, []), ConfigError),
    ]
    for f, error in mistakes:
        with pytest.raises(error) as e: f()
        assert '\n' not in str(e.value)
    assert (answer(store), store.version) == before == (answer(Store.open(tmp_path/'s')), Store.open(tmp_path/'s').version)
    assert [p.name for p in tmp_path.iterdir()] == ['s']


@pytest.mark.parametrize('text', [
    '', '{', '[]', '{}', 'null',
    '{"format": 1, "embedder": "x", "fingerprint": null, "dim": "8", "codes": false, "built": ""}',
    '{"format": 99, "embedder": "x", "fingerprint": null, "dim": 8, "codes": false, "built": ""}'])
def test_a_damaged_description(tmp_path, text):
    build(tmp_path/'s'); (tmp_path/'s'/'store.json').write_text(text)
    with pytest.raises(ArtifactError, match='damaged|newer'): Store.open(tmp_path/'s')
    assert len(build(tmp_path/'s', 3, overwrite=True)) == 3                   # what was a store may be replaced


def test_another_width_than_it_says(tmp_path):
    build(tmp_path/'s'); file = tmp_path/'s'/'store.json'
    said = {k: v for k, v in json.loads(file.read_text()).items() if k != 'sha256'}
    file.write_bytes(seal(said | dict(dim=9)))
    with pytest.raises(ArtifactError, match='8 wide, store.json says 9'): Store.open(tmp_path/'s')


def test_every_file_cut_short_is_an_error_or_no_difference(tmp_path):
    want = answer(build(tmp_path/'s', codes=np.arange(40) % 3), codes=[1])
    files = [p.relative_to(tmp_path/'s') for p in (tmp_path/'s').rglob('*') if p.is_file() and p.stat().st_size]
    failed = 0
    for name in files:
        for engine in ('memory', 'lancedb'):
            shutil.rmtree(tmp_path/'cut', ignore_errors=True); shutil.copytree(tmp_path/'s', tmp_path/'cut')
            os.truncate(tmp_path/'cut'/name, (tmp_path/'cut'/name).stat().st_size // 2)
            try: assert answer(Store.open(tmp_path/'cut'), codes=[1], engine=engine) == want, name
            except ArtifactError as e: failed += 1; assert '\n' not in str(e) and 'cut' in str(e)
    assert failed >= 4


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'lancedb', None)
    with pytest.raises(MissingExtraError, match=r'textlab\[search\]'): build(tmp_path/'s')


def test_importing_it_is_light():
    ask = "import sys, textlab.store; print([m for m in ('lancedb', 'torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, '-c', ask], capture_output=True, text=True)
    assert done.stdout.strip() == '[]', done


# --- several processes ---------------------------------------------------------------------------

KILLED = '''
import sys, time
from pathlib import Path
from textlab import store
from textlab.corpus import load_corpus
import numpy as np
real = store.record_batches
def slowly(*args, **kwargs):
    for i, batch in enumerate(real(*args, size=10, **kwargs)):
        yield batch
        if i == 2: Path(sys.argv[2]).write_text('here'); time.sleep(60)
store.record_batches = slowly
ds, X = load_corpus([{'id': f'k{i}', 'text': 'x'} for i in range(50)]), np.ones((50, 8), np.float32)
if sys.argv[3] == 'build': store.Store.build(sys.argv[1], ds, X, embedder='killed', overwrite=True)
else: store.Store.open(sys.argv[1]).add(ds, X)
'''


def wait_for(path, process):
    for _ in range(600):
        if path.exists(): return
        assert process.poll() is None, process.communicate()
        time.sleep(.05)
    raise AssertionError(f'{path} never came')


@pytest.mark.parametrize('doing', ['build', 'add'])
def test_killed_in_the_middle(tmp_path, doing):
    want = answer(build(tmp_path/'s'))
    process = python(KILLED, tmp_path/'s', tmp_path/'flag', doing)
    try: wait_for(tmp_path/'flag', process)
    finally: process.send_signal(signal.SIGKILL); process.communicate()
    store = Store.open(tmp_path/'s', embedder='noise')
    assert process.returncode == -signal.SIGKILL and len(store) == 40
    assert answer(store) == want == answer(store, engine='lancedb')
    assert store.add(passages(5, 40), vectors(5)) == 45                      # its lock died with it
    assert len(build(tmp_path/'s', 7, overwrite=True)) == 7


READER = '''
import sys, time
from pathlib import Path
import numpy as np
from textlab.store import Store
store, seen, end = Store.open(sys.argv[1]), [], time.time() + 60
Path(sys.argv[2]).write_text('here')
while time.time() < end:
    store.refresh()
    n = len(store)
    ids = store.search(np.eye(8, dtype=np.float32)[:2], n, engine=('memory', 'lancedb')[len(seen) % 2]).ids
    assert n % 10 == 0 and [sorted(i) for i in ids] == [sorted(store.ids)]*2 and len(set(store.ids)) == n, n
    assert store.get(store.ids[-1])[0]['id'] == store.ids[-1]
    seen.append(n)
    if n == 100: break
print(*sorted(set(seen)), seen == sorted(seen))
'''


def test_two_read_while_one_writes(tmp_path):
    store = build(tmp_path/'s', 20)
    readers = [python(READER, tmp_path/'s', tmp_path/f'flag{i}') for i in range(2)]
    try:
        for i, r in enumerate(readers): wait_for(tmp_path/f'flag{i}', r)
        for a in range(20, 110, 10): store.add(passages(10, a), vectors(10, a)); time.sleep(.03)
        store.delete(store.ids[:10])
        said = [r.communicate(timeout=60) for r in readers]
    finally:
        for r in readers: r.kill()
    for r, (out, err) in zip(readers, said):
        assert r.returncode == 0, err
        *seen, rising = out.split()
        assert len(seen) >= 2 and seen[-1] in ('100', '110'), out            # whole batches only, in several steps


WRITER = '''
import sys, numpy as np
from textlab.core import CorpusError
from textlab.corpus import load_corpus
from textlab.store import Store
store, mine = Store.open(sys.argv[1]), 0
for i in range(8):
    new = load_corpus([{'id': f'both{i}', 'text': 'x'}, {'id': f'{sys.argv[2]}{i}', 'text': 'x'}])
    try: store.add(new, np.ones((2, 8), np.float32)); mine += 1
    except CorpusError: pass
print(mine)
'''


def test_two_write_at_once(tmp_path):
    build(tmp_path/'s')
    writers = [python(WRITER, tmp_path/'s', name) for name in 'ab']
    try: said = [w.communicate(timeout=60) for w in writers]
    finally:
        for w in writers: w.kill()
    assert [w.returncode for w in writers] == [0, 0], said
    store = Store.open(tmp_path/'s')
    assert sum(int(out) for out, _ in said) == 8 and len(store) == 40 + 16 == len(set(store.ids))
    assert store.rows.tolist() == sorted(set(store.rows.tolist()))


def test_replaced_while_open(tmp_path):
    store = build(tmp_path/'s'); want = answer(store)
    build(tmp_path/'s', 10, overwrite=True)
    assert answer(store) == want                                              # from memory, as it was
    with pytest.raises(ArtifactError, match='open it again'): store.get('p1')
    assert store.refresh() and len(store) == 10 and store.get('p1')[0]['text'] == 'text of 1'
    assert not store.refresh()
