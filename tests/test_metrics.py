"""Properties of the metrics for whatever input hypothesis thinks of, and their agreement with the libraries of record."""
import itertools
import ir_measures, numpy as np, pytest, scipy.sparse as sp
import sklearn.manifold
from gensim.corpora import Dictionary
from gensim.models import CoherenceModel
from hypothesis import assume, given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, ndcg_score
from textlab.core import TextlabError
from textlab.metrics import *


ALPHABET = [f'w{i}' for i in range(12)]
documents = st.lists(st.lists(st.sampled_from(ALPHABET), max_size=30), min_size=1, max_size=8)
long_documents = st.lists(st.lists(st.sampled_from(ALPHABET), min_size=1, max_size=160), min_size=1, max_size=3)

def gensim_scores(topics, texts, measure, topn):
    texts = [t for t in texts if t]
    kind, window = ('c_npmi', 10**6) if measure == 'npmi' else (measure, None)
    model = CoherenceModel(topics=topics, texts=texts, dictionary=Dictionary(texts), coherence=kind, window_size=window,
                           topn=topn, processes=1)
    return np.array(model.get_coherence_per_topic())

def topics_of(texts, data, least=2):
    "Topics of words that occur, some of them in several topics"
    known = sorted({w for t in texts for w in t})
    assume(len(known) >= least)
    size = data.draw(st.integers(least, min(6, len(known))))
    topic = st.permutations(known).map(lambda p: p[:size])
    return data.draw(st.lists(topic, min_size=1, max_size=4))

@given(texts=documents, data=st.data(), measure=st.sampled_from(['c_npmi', 'npmi', 'u_mass']))
def test_coherence_equals_gensim_short(texts, data, measure):
    topics = topics_of(texts, data)
    np.testing.assert_allclose(coherence(topics, texts, measure, 10, per_topic=True), gensim_scores(topics, texts, measure, 10), atol=1e-6)

@given(texts=long_documents, data=st.data(), measure=st.sampled_from(['c_npmi', 'npmi', 'c_v', 'u_mass']))
@settings(max_examples=25)
def test_coherence_equals_gensim_long(texts, data, measure):
    topics = topics_of(texts, data)
    theirs = gensim_scores(topics, texts, measure, 10)
    assume(np.isfinite(theirs).all())
    np.testing.assert_allclose(coherence(topics, texts, measure, 10, per_topic=True), theirs, atol=1e-6)

@pytest.mark.parametrize('measure', ['c_npmi', 'npmi', 'c_v', 'u_mass'])
def test_coherence_equals_gensim_on_documents_of_all_lengths(measure):
    rng = np.random.default_rng(1)
    vocabulary = np.array([f'w{i}' for i in range(60)])
    lengths = [1, 2, 9, 10, 11, 109, 110, 111, 250, 300, *rng.integers(1, 130, 20)]
    texts = [rng.choice(vocabulary, n, p=np.arange(60, 0, -1) / 1830).tolist() for n in lengths]
    topics = [rng.choice(vocabulary, 12, replace=False).tolist() for _ in range(5)]
    np.testing.assert_allclose(coherence(topics, texts, measure, 12, per_topic=True), gensim_scores(topics, texts, measure, 12), atol=1e-6)

@given(texts=documents, data=st.data(), measure=st.sampled_from(list(COHERENCES)), seed=st.integers(0, 99))
def test_coherence_ignores_order_and_empty_documents(texts, data, measure, seed):
    topics = topics_of(texts, data)
    shuffled = [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))] + [[]]
    one, two = coherence(topics, texts, measure, per_topic=True), coherence(topics[::-1], shuffled, measure, per_topic=True)[::-1]
    np.testing.assert_allclose(one, two, atol=1e-9)
    low, high = {'c_npmi': (-1, 1), 'npmi': (-1, 1), 'c_v': (-1, 1), 'u_mass': (np.log(1e-12), 1e-9)}[measure]
    assert np.isfinite(one).all() and (one >= low - 1e-6).all() and (one <= high + 1e-6).all()

@given(texts=documents, data=st.data(), measure=st.sampled_from(['c_npmi', 'npmi', 'u_mass']), place=st.integers(0, 5))
def test_an_unknown_word_never_helps(texts, data, measure, place):
    topic = topics_of(texts, data, least=3)[0]
    place %= len(topic)
    spoiled = topic[:place] + ['unknown'] + topic[place + 1:]
    assert coherence([spoiled], texts, measure) <= coherence([topic], texts, measure) + 1e-9

def test_floors():
    "A word that never occurs has the lowest mark of the measure, whichever way round"
    texts = [['a', 'b'], ['a', 'c']]
    for topic in (['a', 'unknown'], ['unknown', 'a']):
        assert coherence([topic], texts, 'c_npmi') == coherence([topic], texts, 'npmi') == -1
        assert coherence([topic], texts, 'u_mass') == pytest.approx(np.log(1e-12))
    assert coherence([['a', 'unknown']], texts, 'c_v') == pytest.approx(.5)      # a agrees with itself, the other with nobody

@given(texts=documents, window=st.integers(1, 12))
def test_counts_bound_each_other(texts, window):
    C, N = window_counts(texts, ALPHABET, window)
    n = C.diagonal()
    assert (C == C.T).all() and (C <= np.minimum.outer(n, n)).all() and (n <= N).all()
    assert N == sum(max(len(t) - window + 1, 1) for t in texts if t)
    many, total = window_counts(texts, ALPHABET, window, batch=5)
    assert (C == many).all() and total == N

@pytest.mark.parametrize('bad', [
    lambda: coherence([['a', 'b']], ['a b']), lambda: coherence([['a', 'b']], [['c']]), lambda: coherence([['a']], [['a']]),
    lambda: coherence([], [['a']]), lambda: coherence('ab', [['a']]),
    lambda: coherence([['a', 'b']], [[], []]), lambda: coherence([['a', 'b']], []),
    lambda: topic_diversity([['a'], []]), lambda: nmi([1], [1, 2]), lambda: purity([1], ['']), lambda: classification_report(['a'], []),
    lambda: effective_topics(np.zeros((2, 2))), lambda: effective_topics([1, 2]), lambda: topic_stability([[['a']]]),
    lambda: heldout_perplexity([[1.]], [[.5, .4]], sp.csr_matrix([[1, 1]])),
    lambda: heldout_perplexity([[1.]], [[.5, .5]], sp.csr_matrix((1, 2))),
    lambda: mrr([], []), lambda: recall_at_k([['a']], ['a'], k=0),
    lambda: ndcg_at_k([['a']], [{'a': 0}]), lambda: bootstrap_ci([]), lambda: bootstrap_ci([np.nan]),
    lambda: codebook_skew([], 4), lambda: codebook_perplexity([.5], 4), lambda: knn_recall(np.zeros((4, 2)), np.zeros((4, 2)), k=2)])
def test_mistakes_are_textlab_errors(bad):
    with pytest.raises(TextlabError): bad()

@given(st.lists(st.permutations(ALPHABET).map(lambda p: p[:5]), min_size=1, max_size=6), st.randoms())
def test_diversities_are_bounded_and_symmetric(topics, random):
    td, rbo = topic_diversity(topics, 5), inverted_rbo(topics, 5)
    assert 1 / len(topics) - 1e-9 <= td <= 1 and -1e-6 <= rbo <= 1 + 1e-6
    assert td == pytest.approx(len(set(itertools.chain(*topics))) / (5 * len(topics)))
    shuffled = random.sample(topics, len(topics))
    assert topic_diversity(shuffled, 5) == td and inverted_rbo(shuffled, 5) == pytest.approx(rbo, abs=1e-6)
    renamed = [[w.upper() for w in t] for t in topics]
    assert inverted_rbo(renamed, 5) == pytest.approx(rbo, abs=1e-6)
    assert topic_stability([topics, shuffled], 5) == pytest.approx(1)

@given(st.permutations(ALPHABET), st.permutations(ALPHABET), st.floats(.5, .99))
def test_rbo_by_its_definition(a, b, p):
    agree = [len(set(a[:d]) & set(b[:d])) / d for d in range(1, 9)]
    rbo = agree[-1] * p**8 + (1 - p) / p * sum(x * p**d for d, x in enumerate(agree, 1))
    assert inverted_rbo([a, b], 8, p) == pytest.approx(1 - rbo, abs=1e-5)

sizes = st.tuples(st.integers(1, 20), st.integers(1, 6))
shares = arrays(float, sizes, elements=st.floats(.01, 1)).map(lambda X: X / X.sum(axis=1, keepdims=True))

@given(shares, st.randoms())
def test_effective_topics_bounds(theta, random):
    value = effective_topics(theta)
    assert 1 - 1e-9 <= value <= theta.shape[1] + 1e-9
    p = theta.mean(axis=0)
    assert value == pytest.approx(np.prod(p ** -p))
    assert effective_topics(theta[:, random.sample(range(theta.shape[1]), theta.shape[1])]) == pytest.approx(value)

@given(shares, st.integers(0, 1000), st.integers(1, 50))
def test_perplexity_equals_the_dense_formula(theta, seed, batch):
    rng = np.random.default_rng(seed)
    phi = rng.dirichlet(np.ones(9), theta.shape[1])
    counts = rng.poisson(.7, (len(theta), 9)); counts[0, 0] += 1
    dense = np.exp(-(counts * np.log(theta @ phi)).sum() / counts.sum())
    assert heldout_perplexity(theta, phi, sp.csr_matrix(counts), batch=batch) == pytest.approx(dense, rel=1e-9)
    assert dense >= 1
    one, two = split_counts(sp.csr_matrix(counts), seed=seed)
    assert (one.toarray() + two.toarray() == counts).all() and one.toarray().min() >= 0 and two.toarray().min() >= 0

partitions = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(['a', 'b', 'c', ''])), min_size=2, max_size=60)

@given(partitions, st.randoms())
def test_label_agreement(pairs, random):
    topics, labels = map(list, zip(*pairs))
    assume(any(labels))
    for metric in (nmi, ami, purity):
        value = metric(topics, labels)
        assert -1 <= value <= 1 + 1e-9 and (metric is ami or value >= 0)
        order = random.sample(range(len(pairs)), len(pairs))
        assert metric([topics[i] for i in order], [labels[i] for i in order]) == pytest.approx(value)    # documents in any order
        assert metric([7 * t + 3 for t in topics], labels) == pytest.approx(value)                       # topics under any name
        kept = [(t, l) for t, l in pairs if l]
        assert metric(*zip(*kept)) == pytest.approx(value)                                               # empty labels do not count
        assert metric(topics, [l or -1 for l in labels]) == pytest.approx(value)
        assert metric(labels, labels) == pytest.approx(1)
    majority = sum(max([l for t, l in kept if t == k].count(name) for name in 'abc') for k in {t for t, _ in kept})
    assert purity(topics, labels) == pytest.approx(majority / len(kept))

@given(partitions)
def test_classification_report_equals_scikit_learn(pairs):
    y, pred = [a for _, a in pairs if a], ['abc'[t % 3] for t, a in pairs if a]
    assume(y)
    report = classification_report(y, pred)
    assert report['macro_f1'] == pytest.approx(f1_score(y, pred, average='macro', zero_division=0))
    assert report['micro_f1'] == pytest.approx(f1_score(y, pred, average='micro'))
    assert sum(row['support'] for row in report['per_class'].values()) == len(y)

queries = st.lists(st.tuples(st.lists(st.integers(0, 15), max_size=12), st.sets(st.integers(0, 15), min_size=1)), min_size=1, max_size=6)

@given(queries, st.integers(1, 12))
def test_retrieval(pairs, k):
    ranked, relevant = map(list, zip(*pairs))
    measures = [lambda *a: recall_at_k(*a, k=k, per_query=True), lambda *a: precision_at_k(*a, k=k, per_query=True),
                lambda *a: mrr(*a, k=k, per_query=True), lambda *a: ndcg_at_k(*a, k=k, per_query=True)]
    for measure in measures:
        value = measure(ranked, relevant)
        assert (value >= 0).all() and (value <= 1 + 1e-9).all() and value.shape == (len(pairs),)
        np.testing.assert_allclose(measure(ranked[::-1], relevant[::-1])[::-1], value)
        renamed = measure([[f'd{i}' for i in r] for r in ranked], [{f'd{i}' for i in r} for r in relevant])
        np.testing.assert_allclose(renamed, value)
        once = measure([list(dict.fromkeys(r)) for r in ranked], relevant)
        np.testing.assert_allclose(once, value)
    assert recall_at_k(ranked, relevant, k=k) <= recall_at_k(ranked, relevant, k=k + 1) + 1e-9
    perfect = [sorted(r) for r in relevant]
    assert mrr(perfect, relevant) == 1 and ndcg_at_k(perfect, relevant, k=k) == pytest.approx(1)
    assert recall_at_k(perfect, relevant, k=16) == 1

@given(st.integers(0, 1000), st.integers(1, 12))
def test_ndcg_equals_scikit_learn(seed, k):
    rng = np.random.default_rng(seed)
    gain, score = rng.integers(0, 4, (5, 12)), rng.normal(size=(5, 12))
    gain[:, 0] += 1
    ranked, truth = (-score).argsort(axis=1), [dict(enumerate(g)) for g in gain.tolist()]
    assert ndcg_at_k(ranked, truth, k=k) == pytest.approx(ndcg_score(gain, score, k=k))

answers = st.lists(st.integers(0, 15), unique=True, max_size=14)
gains = st.dictionaries(st.integers(0, 15), st.integers(-1, 3), min_size=1, max_size=9)
graded = st.lists(st.tuples(answers, gains.filter(lambda g: max(g.values()) > 0)), min_size=1, max_size=5)

def by_ir_measures(ranked, relevant, names):
    "What the library of record says of each question: {name: [Q]}; a question without an answer list counts 0"
    qrels = [ir_measures.Qrel(f'q{q}', f'd{d}', g) for q, truth in enumerate(relevant) for d, g in truth.items()]
    run = [ir_measures.ScoredDoc(f'q{q}', f'd{d}', 100. - i) for q, answers in enumerate(ranked) for i, d in enumerate(answers)]
    values = {name: np.zeros(len(ranked)) for name in names}
    measures = {ir_measures.parse_measure(name): name for name in names}
    for m in ir_measures.iter_calc(list(measures), qrels, run): values[measures[m.measure]][int(m.query_id[1:])] = m.value
    return values

@given(graded, st.integers(1, 16), st.booleans())
def test_retrieval_equals_ir_measures(pairs, k, binary):
    ranked, relevant = map(list, zip(*pairs))
    if binary: relevant = [{d: 1 for d, g in truth.items() if g > 0} for truth in relevant]
    theirs = by_ir_measures(ranked, relevant, [f'R@{k}', f'P@{k}', f'RR@{k}', 'RR', f'nDCG@{k}'])
    given_ = [set(truth) for truth in relevant] if binary else relevant       # sets of ids and {id: grade} are read alike
    ours = {f'R@{k}': recall_at_k(ranked, given_, k, per_query=True), f'P@{k}': precision_at_k(ranked, given_, k, per_query=True),
            f'RR@{k}': mrr(ranked, given_, k, per_query=True), 'RR': mrr(ranked, given_, None, per_query=True),
            f'nDCG@{k}': ndcg_at_k(ranked, given_, k, per_query=True)}
    for name in theirs: np.testing.assert_allclose(ours[name], theirs[name], atol=1e-9, err_msg=name)

def test_bootstrap_covers():
    "About 95 of 100 intervals hold the true mean, and the same seed gives the same interval"
    rng, inside = np.random.default_rng(0), 0
    for _ in range(100):
        _, low, high = bootstrap_ci(rng.normal(3, 1, 60), resamples=400)
        inside += low <= 3 <= high
    assert 87 <= inside <= 99
    assert bootstrap_ci(range(9)) == bootstrap_ci(range(9))

@given(st.integers(0, 1000), st.integers(20, 60), st.integers(1, 8))
@settings(max_examples=20)
def test_map_metrics(seed, n, k):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(n, 5)).astype(np.float32), rng.normal(size=(n, 2)).astype(np.float32)
    trust = trustworthiness(X, Y, k)
    assert trust == pytest.approx(sklearn.manifold.trustworthiness(X, Y, n_neighbors=k), abs=1e-6)
    assert continuity(X, Y, k) == pytest.approx(trustworthiness(Y, X, k))
    assert 0 <= knn_recall(X, Y, k) <= 1
    assert trustworthiness(X, X, k) == continuity(X, X, k) == knn_recall(X, X, k) == 1
    order = rng.permutation(n)
    assert trustworthiness(X[order], Y[order], k) == pytest.approx(trust)
    assert knn_recall(X, 3 * X[:, [1, 0, 2, 4, 3]] + 1, k) == pytest.approx(1, abs=.02)              # turned, moved, scaled

@given(st.lists(st.integers(0, 7), min_size=1, max_size=200), st.permutations(range(8)))
def test_codes(codes, names):
    codes = np.array(codes)
    perplexity, skew = codebook_perplexity(codes, 8), codebook_skew(codes, 8)
    used = len(set(codes.tolist()))
    assert 1 - 1e-9 <= perplexity <= used + 1e-9 and 8 / used - 1e-9 <= skew <= 8 + 1e-9
    assert perplexity >= 8 / skew - 1e-9                                                             # Renyi entropies fall with their order
    assert codebook_perplexity(np.array(names)[codes], 8) == pytest.approx(perplexity)

@given(documents, st.data())
@settings(max_examples=15)
def test_the_row_holds_finite_numbers_only(texts, data):
    topics = topics_of(texts, data)
    rng = np.random.default_rng(0)
    row = evaluate_topics(topics, rng.dirichlet(np.ones(3), 6), ['a', 'b', '', 'a', 'b', 'b'], texts)
    assert set(row) <= {'npmi@10', 'c_npmi@10', 'c_v@15', 'td@10', 'td@15', 'td@25', 'irbo', 'nmi', 'ami', 'purity', 'effective_topics'}
    assert all(np.isfinite(v) for v in row.values())
