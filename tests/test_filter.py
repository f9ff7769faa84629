"""The code filter: what it keeps, what stays in step, what it refuses"""
import json, subprocess, sys
from dataclasses import replace
import numpy as np, pytest, scipy.sparse as sp, torch, torch.nn.functional as F
from datasets import Dataset
from hypothesis import given, settings, strategies as st
from test_codes import SMALL, Teacher as Letters, data, pairs, texts
from textlab.cli.core import said
from textlab.codes import (BookCodes, CellCodes, CodeFilter, KmerCodes, PooledCodes, adapt, align, encode_texts, hashed_counts,
                           load_aligned, load_codes, pretrain, random_codes, recall_kept)
from textlab.codes.filter import bm25_matrix, code_scores, kmers, listed, stored_counts
from textlab.core import ArtifactError, ConfigError, CorpusError, EmbeddingError
from textlab.corpus import load_corpus
from textlab.embed import Embedder
from textlab.lm.search import SearchIndex
from textlab.store import Store
from textlab.tokenizer import BPETokenizer

class Teacher(Letters):
    def encode_queries(self, texts, **options): return self.encode(texts)

TEACHER, QUESTIONS = Teacher(), texts(12, seed=8)

def corpus(n=80, seed=3): return load_corpus([dict(id=f'p{i}', text=t) for i, t in enumerate(texts(n, seed))])

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "The three checkpoints, small"
    d = tmp_path_factory.mktemp('codes')
    pretrain(data(), d/'1.pt', **SMALL)
    base = load_codes(d/'1.pt')
    adapt(data(base.tokenizer, 5), base, d/'1b.pt', device='cpu')
    align(pairs(), load_codes(d/'1b.pt'), d/'2.pt', device='cpu', batch_size=8, epochs=1)
    return d

@pytest.fixture(scope='module')
def codes(folder): return load_aligned(folder/'2.pt')

def coder(kind, codes):
    made = dict(cells=lambda: CellCodes(8), ivf=lambda: CellCodes(8, rank=0), product=lambda: BookCodes(8, 16),
                residual=lambda: BookCodes(3, 8, residual=True), pooled=lambda: PooledCodes(codes),
                kmers=lambda: KmerCodes(codes), lengths=lambda: KmerCodes(codes, (1, 2)))
    return made[kind]()

KINDS = 'cells', 'ivf', 'product', 'residual', 'pooled', 'kmers', 'lengths'
each_kind = pytest.mark.parametrize('kind', KINDS)

def same(a, b): return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))

# --- how it is judged --------------------------------------------------------------------------------

@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=3), st.floats(.01, 1), st.data())
def test_the_share_kept_is_that_of_reading_in_any_order_of_equals(scores, fraction, draw):
    S = np.array(scores, np.float32)
    w = np.array([[draw.draw(st.integers(-1, 5)) for _ in range(2)] for _ in S])
    expected = []
    for s, row in zip(S, w):
        shares = []
        for p in row[row >= 0]:
            better, equal = (s > s[p]).sum(), (s == s[p]).sum()
            shares.append(min(1, max(0, (fraction*6 - better)/equal)))
        expected.append(np.mean(shares) if shares else 0)
    found = recall_kept(S, sp.eye(6, format='csr', dtype=np.float32), w, [fraction])
    assert np.allclose(found, np.mean(expected), atol=1e-6)

def test_memory_does_not_change_the_curve():
    rng = np.random.default_rng(0)
    M, W = sp.random(500, 40, .1, 'csr', random_state=0, dtype=np.float32), rng.random((30, 40), np.float32)
    wanted = rng.integers(0, 500, (30, 3))
    assert np.allclose(recall_kept(W, M, wanted), recall_kept(W, M, wanted, cells=1000))
    assert np.allclose(code_scores(W, M), code_scores(sp.csr_matrix(W), M), atol=1e-5)

# --- index, save, load -------------------------------------------------------------------------------

@each_kind
def test_saved_and_loaded_answers_are_identical(kind, codes, tmp_path):
    made = CodeFilter(coder(kind, codes), TEACHER).index(corpus(), tmp_path/'f')
    again = CodeFilter.load(made.save(tmp_path/'g'), embedder=TEACHER)
    for options in (dict(nprobe=1), dict(nprobe=3), dict(kept=.1), dict(kept=1.)):
        assert same(made.candidates(QUESTIONS, **options), again.candidates(QUESTIONS, **options))
        first, second = (f.search(QUESTIONS, 5, **options) for f in (made, again))
        assert first.ids == second.ids and np.array_equal(first.scores, second.scores)

@each_kind
def test_the_column_of_the_store_holds_every_code(kind, codes):
    made = CodeFilter(coder(kind, codes), TEACHER).index(corpus())
    items = made.read(corpus())[2]
    counts = made.coder.encode(items)
    assert (stored_counts(made.store, made.coder.num_codes) != counts).nnz == 0
    assert counts.sum(1).min() >= 1

@each_kind
def test_reading_everything_is_exhaustive_search(kind, codes):
    made = CodeFilter(coder(kind, codes), TEACHER).index(corpus())
    found, exact = made.search(QUESTIONS, 7, kept=1.), made.store.search(made.teacher.encode_queries(QUESTIONS), 7)
    assert found.ids == exact.ids and np.array_equal(found.scores, exact.scores)

@each_kind
def test_same_seed_same_codes(kind, codes):
    first, second = (CodeFilter(coder(kind, codes), TEACHER).index(corpus()).candidates(QUESTIONS) for _ in range(2))
    assert same(first, second)

@each_kind
def test_what_is_kept_is_what_was_asked_for(kind, codes):
    made = CodeFilter(coder(kind, codes), TEACHER).index(corpus())
    sizes = [len(c) for c in made.candidates(QUESTIONS, kept=.25)]
    if made.coder.single: assert min(sizes) >= 20
    else: assert set(sizes) == {20}

def test_a_match_of_codes_is_one_probe(codes):
    made = CodeFilter(PooledCodes(codes), TEACHER).index(corpus())
    own = made.coder.weigh(QUESTIONS)
    code = stored_counts(made.store, 16).indices
    for found, w in zip(made.candidates(QUESTIONS, nprobe=1), own):
        nearest = max(set(code), key=lambda c: w[c])
        assert found.tolist() == np.flatnonzero(code == nearest).tolist()

# --- change ------------------------------------------------------------------------------------------

@each_kind
def test_changed_step_by_step_equals_indexed_at_once(kind, codes):
    made = CodeFilter(coder(kind, codes), TEACHER).index(corpus())
    new, other = corpus(5, seed=20), corpus(3, seed=21)
    made.add(new.map(lambda row: {'id': f"new-{row['id']}"}))
    made.update(other)                                                                     # p0, p1, p2
    made.delete(['p7', 'new-p4'])
    rows = {row['id']: row for row in corpus()} | {row['id']: row for row in other}
    rows |= {f"new-{row['id']}": dict(row, id=f"new-{row['id']}") for row in new}
    final = load_corpus([row for i, row in rows.items() if i not in ('p7', 'new-p4')])
    whole = CodeFilter(made.coder, TEACHER).index(final, fit=False)
    assert made.store.ids == whole.store.ids
    assert same(made.candidates(QUESTIONS), whole.candidates(QUESTIONS))
    assert made.search(QUESTIONS, kept=.3).ids == whole.search(QUESTIONS, kept=.3).ids

def test_two_readers_see_each_others_changes(codes, tmp_path):
    one = CodeFilter(KmerCodes(codes), TEACHER).index(corpus(), tmp_path/'f')
    two = CodeFilter.load(tmp_path/'f', embedder=TEACHER)
    assert one.delete('p3') == 79
    two.store.refresh()
    assert same(one.candidates(QUESTIONS), two.candidates(QUESTIONS))

# --- the student -------------------------------------------------------------------------------------

def test_kmers_are_sums_of_their_tokens(codes):
    text = texts(1, seed=30)[0]
    tokens, mask = encode_texts(codes, [text])
    z, _ = codes.model.read(tokens, mask, kmer=1)
    [(_, owner, found)] = kmers(codes, [text], [3], 'query')
    assert len(found) == tokens.shape[1] - 2 and not owner.any()
    for j in (0, 5, len(found) - 1):
        unit = F.normalize(z[0, j:j + 3].sum(0), dim=0)
        assert torch.allclose(found[j], F.normalize(codes.adapters.query(unit), dim=0), atol=5e-3) # read in bf16

def test_texts_are_read_alike_alone_and_together(codes):
    some = texts(9, seed=31) + ['a', 'rain sun']
    together = KmerCodes(codes).encode(some)
    for i, text in enumerate(some): assert abs(together[i] - KmerCodes(codes).encode([text])).max() == 0
    assert KmerCodes(codes).encode(['a']).sum() == 2                                       # shorter than a k-mer

def test_lower_case_makes_capitals_equal(codes):
    text = texts(1, seed=32)[0]
    cased = replace(codes, tokenizer=BPETokenizer.train(texts(40, seed=33), 300))
    for made in (KmerCodes(cased, lower=True), PooledCodes(cased, lower=True)):
        assert abs(made.encode([text]) - made.encode([text.title()])).max() == 0
        assert type(made).from_state(made.to_state()).lower
    assert abs(KmerCodes(cased).encode([text]) - KmerCodes(cased).encode([text.title()])).max() > 0
    assert abs(KmerCodes(codes).encode([text]) - KmerCodes(codes).encode([text.title()])).max() == 0 # an uncased tokenizer

@pytest.mark.parametrize('name', ['1', '1b', '2'])
def test_every_phase_gives_a_student(folder, name):
    made = CodeFilter(KmerCodes(load_aligned(folder/f'{name}.pt')), TEACHER).index(corpus())
    found = made.search([row['text'] for row in corpus().select(range(10))], 1, kept=.2).ids
    assert sum(ids == [f'p{i}'] for i, ids in enumerate(found)) >= 5                       # two of ten by chance

def test_random_codes_are_the_same_student_with_another_codebook(codes):
    learned, noise, again = KmerCodes(codes), *(random_codes(KmerCodes(codes)) for _ in range(2))
    assert torch.equal(noise.model.codebook, again.model.codebook)
    assert not torch.equal(learned.model.codebook, noise.model.codebook)
    assert torch.allclose(noise.model.codebook.norm(dim=1), torch.ones(16), atol=1e-5)
    for k, v in learned.model.state_dict().items(): assert 'embed' in k or torch.equal(v, noise.model.state_dict()[k]), k
    assert abs(learned.encode(QUESTIONS) - noise.encode(QUESTIONS)).max() > 0

def test_hashed_tokens_count_every_token(codes):
    some = texts(5)
    hashed = hashed_counts(codes.tokenizer, some, 16)
    assert hashed.shape == (5, 16) and hashed.sum() == sum(map(len, codes.tokenizer.encode_batch(some)))
    assert bm25_matrix(hashed).data.min() > 0

# --- what it refuses ---------------------------------------------------------------------------------

def test_wrong_input_has_clear_errors(codes, folder, tmp_path):
    made = CodeFilter(BookCodes(8, 16), TEACHER).index(corpus(), tmp_path/'f')
    with pytest.raises(ConfigError, match='no passages yet; call index'): CodeFilter(CellCodes(), TEACHER).search('why?')
    with pytest.raises(ConfigError, match='gives no codes'): CodeFilter(codes, TEACHER)
    with pytest.raises(ConfigError, match='load_aligned'): KmerCodes(load_codes(folder/'1.pt'))
    with pytest.raises(ConfigError, match='nprobe=0 must be at least 1'): made.candidates('why?', nprobe=0)
    with pytest.raises(ConfigError, match='nprobe=129 must be at most 128'): made.candidates('why?', nprobe=129)
    with pytest.raises(ConfigError, match='kept=0'): made.candidates('why?', kept=0)
    with pytest.raises(ConfigError, match='question 2 is empty'): made.search(['why?', ' '])
    with pytest.raises(CorpusError, match="passage 'e' is empty"): made.add(Dataset.from_list([dict(id='e', text=' ')]))
    with pytest.raises(CorpusError, match='texts are empty'): made.add([dict(id='e', text=' ')])
    with pytest.raises(CorpusError, match="no passage 'x'"): made.delete('x')
    with pytest.raises(CorpusError, match="no passage 'x'"): made.update([dict(id='x', text='rain')])
    with pytest.raises(CorpusError, match="holds a passage 'p1' already"): made.add([dict(id='p1', text='rain')])
    with pytest.raises(EmbeddingError, match='80 documents'): made.index(corpus(), tmp_path/'f', vectors=np.ones((3, 32)))
    with pytest.raises(CorpusError, match='too few for entries=256'): CodeFilter(BookCodes(8), TEACHER).index(corpus())
    with pytest.raises(ConfigError, match='cannot be cut'): CodeFilter(BookCodes(5, 4), TEACHER).index(corpus())
    with pytest.raises(CorpusError, match='cannot make 500 codes'): CodeFilter(CellCodes(500), TEACHER).index(corpus())
    with pytest.raises(ConfigError, match='nothing but padding'):
        codes.model.read(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.bool))
    assert len(made) == 80 and len(CodeFilter.load(tmp_path/'f', embedder=TEACHER)) == 80  # nothing was changed

def test_a_damaged_filter_is_refused(codes, tmp_path):
    made = CodeFilter(CellCodes(8), TEACHER).index(corpus(), tmp_path/'f')
    def broken(name):
        made.save(tmp_path/'g')
        return tmp_path/'g'/name
    file = broken('coder/model.safetensors'); file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match='truncated'): CodeFilter.load(tmp_path/'g', embedder=TEACHER)
    CellCodes(4).fit(TEACHER.encode(texts())).save(broken('coder'))
    with pytest.raises(ArtifactError, match='another coder'): CodeFilter.load(tmp_path/'g', embedder=TEACHER)
    broken('filter.json').write_text('{')
    with pytest.raises(ArtifactError, match='filter.json'): CodeFilter.load(tmp_path/'g', embedder=TEACHER)
    broken('filter.json').write_text('[]')
    with pytest.raises(ArtifactError, match='damaged'): CodeFilter.load(tmp_path/'g', embedder=TEACHER)
    broken('filter.json').unlink()
    with pytest.raises(ArtifactError, match='no code filter'): CodeFilter.load(tmp_path/'g', embedder=TEACHER)
    with pytest.raises(ArtifactError, match='is no code filter; give another folder'): made.save(tmp_path)
    with pytest.raises(ConfigError, match='has no name'): CodeFilter.load(tmp_path/'f')

# --- the first stage of a search index ---------------------------------------------------------------

def by_letters():
    "The teacher as an `Embedder`, which an index wants"
    return Embedder('letters', 32, lambda: lambda batch: torch.from_numpy(TEACHER.encode(batch)), weights='v1')

@each_kind
def test_an_index_that_reads_everything_answers_as_one_without_codes(kind, codes, tmp_path):
    plain = SearchIndex.build(corpus(), by_letters(), tmp_path/'plain')
    coded = SearchIndex.build(corpus(), by_letters(), tmp_path/'coded', codes=coder(kind, codes))
    for mode in ('dense', 'bm25', 'hybrid'):
        for a, b in zip(plain.search(QUESTIONS, 5, mode), coded.search(QUESTIONS, 5, mode, kept=1.), strict=True):
            assert [(h['id'], h['score']) for h in a] == [(h['id'], h['score']) for h in b]
    opened = SearchIndex.load(coded.path, embedder=by_letters())
    assert opened.search(QUESTIONS, 5) == coded.search(QUESTIONS, 5)

@pytest.mark.parametrize('mode', ['dense', 'hybrid'])
def test_what_was_read_has_the_score_of_an_exhaustive_search(mode, codes, tmp_path):
    index = SearchIndex.build(corpus(), by_letters(), tmp_path/'i', codes=KmerCodes(codes))
    full, place = index.scores(QUESTIONS, mode), {name: i for i, name in enumerate(index.ids)}
    for s, hits in zip(full, index.search(QUESTIONS, 80, mode, kept=.3)):
        assert 12 <= len(hits) <= 24                                                       # 30% of 80, by both halves
        assert np.allclose([h['score'] for h in hits], [s[place[h['id']]] for h in hits], atol=1e-3)

@pytest.mark.parametrize('with_codes', [False, True])
def test_words_vectors_and_codes_stay_in_step(with_codes, codes, tmp_path):
    made = KmerCodes(codes) if with_codes else None
    index = SearchIndex.build(corpus(), by_letters(), tmp_path/'i', codes=made)
    index.add([dict(id='new', text='copper is mined here')])
    index.update([dict(id='p5', text='tides come twice a day')])
    assert index.delete(['p0', 'p9']) == 79
    again = SearchIndex.load(tmp_path/'i', embedder=by_letters())
    for i in (index, again):
        assert [h['id'] for h in i.search('copper', 1, 'bm25')] == ['new']
        assert [h['id'] for h in i.search('tides', 1, 'bm25')] == ['p5']
        assert [h['id'] for h in i.search('tides come twice a day', 1, 'dense', kept=.5)] == ['p5']
    assert again.search(QUESTIONS) == index.search(QUESTIONS)
    with pytest.raises(CorpusError, match="no passage 'x'"): index.delete('x')
    with pytest.raises(CorpusError, match="no passage 'x'"): index.update([dict(id='x', text='rain')])
    with pytest.raises(CorpusError, match="holds a passage 'p1' already"): index.add([dict(id='p1', text='rain')])

def test_a_store_changed_behind_its_index_shifts_no_words(tmp_path):
    "A passage deleted and another added: as many as before, and every position another"
    index = SearchIndex.build([dict(id='a', text='tides and moons'), dict(id='b', text='copper and tin')] + [
        dict(id=f'c{i}', text=t) for i, t in enumerate(texts(5))], by_letters(), tmp_path/'i')
    store = Store.open(tmp_path/'i'/'store')
    store.delete('a')
    store.add([dict(id='a', text='salt and gold alone')], TEACHER.encode(['salt and gold alone']))
    assert [h['id'] for h in SearchIndex.load(tmp_path/'i', embedder=by_letters()).search('copper', 1, 'bm25')] == ['b']

# --- the command line --------------------------------------------------------------------------------

def test_index_search_and_evaluate_from_a_shell(folder, tmp_path):
    rows = [dict(id=f'p{i}', text=t) for i, t in enumerate(texts(40))]
    asked = [dict(id=f'q{i}', text=' '.join(r['text'].split()[:8]), relevant=[r['id']]) for i, r in enumerate(rows[:10])]
    for name, part in (('passages', rows), ('asked', asked)):
        (tmp_path/f'{name}.jsonl').write_text('\n'.join(map(json.dumps, part)))
    np.save(tmp_path/'v.npy', np.random.default_rng(0).normal(size=(40, 384)).astype(np.float32))
    given = f'--checkpoint {folder/"2.pt"} --embeddings v.npy'
    status, out, err = said(f'codes index passages.jsonl {given} --out f --json', tmp_path)
    assert status == 0 and json.loads(out)['passages'] == 40, err
    status, out, err = said(f'codes search f "{asked[3]["text"]}" --kept 0.1 --k 3 --json', tmp_path)
    found = json.loads(out)
    assert status == 0 and found['read'] == 4 and len(found['hits']) == 3, err
    status, out, err = said(f'codes evaluate --corpus passages.jsonl --queries asked.jsonl {given} --json', tmp_path)
    systems = json.loads(out)['systems']
    assert status == 0 and list(systems) == ['kmers', 'spherical IVF', 'hashed tokens'], err
    assert systems['kmers']['gold'][-1] >= .1 and systems['kmers']['cost']['total'] > 0    # .05 by chance
    for line, why in ((f'codes index passages.jsonl {given} --out f', 'replace it with --overwrite'),
                      ('codes index passages.jsonl --out g', 'needs the checkpoint of a student'),
                      ('codes index passages.jsonl --checkpoint asked.jsonl --out g', 'asked.jsonl'),
                      ('codes search f rain --nprobe 0', 'nprobe=0 must be at least 1'),
                      ('codes search . rain', 'is no code filter')):
        status, _, err = said(line, tmp_path)
        assert status == 2 and why in err.splitlines()[-1], err
    assert not (tmp_path/'g').exists()

KILLED = '''
import os, sys
from textlab.cli import core
import textlab.codes
sys.modules['textlab.codes.pretrain'].pretrain = lambda *args, **options: os._exit(9) # dies when the vectors are there
core.run(['codes', 'pretrain', 'lee', '--max_tokens_total', '1500', '--vocab_size', '400', '--out', 'one.pt'])
'''

def test_a_kill_loses_no_vector_of_the_teacher(tmp_path):
    done = subprocess.run([sys.executable, '-c', KILLED], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path/'one.pt.partial'/'vectors').rglob('*.npy')}
    assert kept
    again = subprocess.run([sys.executable, '-c', KILLED], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 9 and kept == {p: p.stat().st_mtime_ns for p in kept}
