"Retrieval: killed runs go on, indexes survive, other processes get the same answers"
import json, os, signal, subprocess, sys

import numpy as np
import pandas as pd
import pytest
from fastai.callback.core import Callback
from hypothesis import HealthCheck, given, settings, strategies as st

from textlab.core import ArtifactError, ConfigError, CorpusError, EmbeddingError, TextlabError
from textlab.corpus import load_corpus
from textlab.embed import load_embedder
from textlab.lm.encoder import DocumentEncoder, Terms, pseudo_queries
from textlab.lm.retrieval import BM25, Dense, Hybrid, evaluate_search, rank_rows, terms, zscore
from textlab.lm.search import CARD, SearchIndex, best_window, gain, marks, snippet

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TEXTLAB_PROGRESS": "0", "TOKENIZERS_PARALLELISM": "false"}
SMALL = dict(dim=64, fixed_dim=64, epochs=3, budget=200_000)


@pytest.fixture(scope="module")
def corpus(): return load_corpus("wiki-mini-passages").select(range(200))


@pytest.fixture(scope="module")
def encoder(corpus): return DocumentEncoder(**SMALL).fit(corpus)


@pytest.fixture()
def index(corpus, encoder, tmp_path): return SearchIndex.build(corpus, encoder, tmp_path / "index")


def run(code):
    "What a fresh process prints"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
    return done.returncode, done.stdout.strip(), done.stderr


class Dies(Callback):
    "Stop a run at the end of an epoch, as a kill would"
    order = 99
    def __init__(self, epoch): self.at = epoch
    def after_epoch(self):
        if self.epoch == self.at: raise KeyboardInterrupt


# --- the encoder -----------------------------------------------------------------------------------

def test_the_budget_is_kept(corpus):
    for budget in (50_000, 200_000):
        model = DocumentEncoder(**SMALL | dict(budget=budget, epochs=0)).fit(corpus)
        assert budget - 64 < model.num_parameters <= budget


def test_a_killed_run_goes_on_to_the_same_end(corpus, encoder, tmp_path):
    with pytest.raises(KeyboardInterrupt): DocumentEncoder(**SMALL).fit(corpus, checkpoint_dir=tmp_path, cbs=[Dies(1)])
    assert (tmp_path / "training_state.pt").exists()
    again = DocumentEncoder(**SMALL).fit(corpus, checkpoint_dir=tmp_path)
    found = again.network_.state_dict()
    for name, tensor in encoder.network_.state_dict().items(): assert (found[name] == tensor).all(), name
    assert again.history_["valid_loss"] == encoder.history_["valid_loss"]


def test_training_learns_and_the_seed_decides(corpus, encoder):
    assert encoder.history_["valid_loss"][-1] < encoder.history_["valid_loss"][0]
    same, other = DocumentEncoder(**SMALL).fit(corpus), DocumentEncoder(**SMALL, seed=7).fit(corpus)
    assert (same.encode(["anarchism"]) == encoder.encode(["anarchism"])).all()
    assert not np.allclose(other.encode(["anarchism"]), encoder.encode(["anarchism"]))


def test_another_process_reads_the_same_bits(corpus, encoder, tmp_path):
    folder = encoder.save(tmp_path / "encoder")
    status, said, error = run(f"""
from textlab.embed import load_embedder
print(load_embedder({f'lm:{folder}'!r}, device='cpu').encode(['anarchism and autism']).tobytes().hex())""")
    assert not status, error
    assert said == load_embedder(f"lm:{folder}", device="cpu").encode(["anarchism and autism"]).tobytes().hex()
    assert (DocumentEncoder.load(folder).encode(corpus["text"]) == encoder.encode(corpus["text"])).all()


def test_passages_come_in_any_form(corpus, encoder):
    texts = list(corpus["text"])
    want = DocumentEncoder(**SMALL).fit(texts).encode(texts[:5])
    for X in (np.array(texts, dtype=object), pd.Series(texts), {"text": texts}):
        assert (DocumentEncoder(**SMALL).fit(X).encode(texts[:5]) == want).all()
    named = pd.DataFrame({"body": texts, "name": corpus["title"]})
    found = DocumentEncoder(**SMALL).fit(named, text="body", title="name")
    assert (found.encode(texts[:5]) == encoder.encode(texts[:5])).all()
    with pytest.raises(CorpusError, match="body"): DocumentEncoder(**SMALL).fit({"bdy": texts}, text="body")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=[])))
def test_any_text_has_a_vector(encoder, text):
    vector = encoder.encode([text])
    assert vector.shape == (1, 128) and np.isfinite(vector).all()
    known = encoder.terms_.numbers([text])[0].size > 0
    assert np.isclose(np.linalg.norm(vector), 1, atol=1e-4) == known or not vector.any()


@settings(max_examples=50, deadline=None)
@given(documents=st.lists(st.lists(st.integers(0, 19), max_size=30), min_size=1, max_size=8),
       seed=st.integers(0, 99), dropout=st.floats(0, .5))
def test_a_question_and_the_rest_are_the_passage(documents, seed, dropout):
    documents = [np.array(d, np.int64) for d in documents]
    asked, left = pseudo_queries(documents, np.ones(20), np.random.default_rng(seed), dropout=0.)
    for d, a, l in zip(documents, asked, left): assert sorted([*a, *l]) == sorted(d)
    thinner = pseudo_queries(documents, np.ones(20), np.random.default_rng(seed), dropout=dropout)[1]
    assert all(len(t) <= len(l) for t, l in zip(thinner, left))


# --- scores ----------------------------------------------------------------------------------------

@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), min_size=7, max_size=7), min_size=1, max_size=5), st.integers(1, 9))
def test_the_best_rows_are_those_of_a_stable_sort(rows, k):
    S = np.array(rows, float)
    assert (rank_rows(S, k) == np.argsort(-S, axis=1, kind="stable")[:, :k]).all()
    assert np.isfinite(zscore(S)).all()


def test_bm25_is_saved_and_checked(corpus, tmp_path):
    words = BM25().fit(corpus)
    words.save(tmp_path / "bm25")
    assert (BM25.load(tmp_path / "bm25").scores(["autism in children"]) == words.scores(["autism in children"])).all()
    file = tmp_path / "bm25" / "scores.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ArtifactError, match="scores.npy"): BM25.load(tmp_path / "bm25")


def test_a_hybrid_without_known_words_is_the_other(corpus, encoder):
    words, dense = BM25().fit(corpus), Dense(encoder, corpus)
    assert (Hybrid(words, dense, 0.).scores(["autism"]).argmax() == words.scores(["autism"]).argmax())
    unknown = BM25().fit(["nothing in common"])
    unknown.scores = lambda queries: np.zeros((len(queries), len(corpus)), np.float32)
    assert (Hybrid(unknown, dense).scores(["autism"]).argsort() == dense.scores(["autism"]).argsort()).all()


# --- the index -------------------------------------------------------------------------------------

def test_another_process_finds_the_same(index):
    status, said, error = run(f"""
import json
from textlab.lm.search import SearchIndex
index = SearchIndex.load({str(index.path)!r})
print(json.dumps([index.search(['anarchism in Spain', 'children with autism'], k=5, mode=m) for m in index.modes]))""")
    assert not status, error
    asked = ["anarchism in Spain", "children with autism"]
    assert json.loads(said) == [index.search(asked, k=5, mode=m) for m in index.modes]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_build_leaves_the_old_index(index, corpus):
    before = index.search("anarchism in Spain")
    status, _, error = run(f"""
import os, signal
from textlab.corpus import load_corpus
from textlab.lm.encoder import DocumentEncoder
from textlab.lm.search import BM25, SearchIndex
BM25.fit = lambda self, corpus: os.kill(os.getpid(), signal.SIGKILL)
encoder = DocumentEncoder.load({str(index.path / "encoder")!r})
SearchIndex.build(load_corpus('wiki-mini-passages').select(range(50)), encoder, {str(index.path)!r})""")
    assert status == -signal.SIGKILL, error
    assert len(SearchIndex.load(index.path)) == len(corpus)
    assert SearchIndex.load(index.path).search("anarchism in Spain") == before
    again = SearchIndex.build(corpus.select(range(50)), index.embedder, index.path)  # and the next build works
    assert len(again) == 50


def test_an_index_knows_its_embedder(index, corpus):
    other = DocumentEncoder(**SMALL | dict(epochs=0, seed=1)).fit(corpus)
    with pytest.raises(EmbeddingError, match="lm-encoder"): SearchIndex.load(index.path, embedder=other)


class Lengths:
    "No model of textlab, but it embeds"
    name = "lengths"
    def encode(self, texts): return np.array([[len(t), 1, t.count("e")] for t in texts], np.float32)


def test_any_object_that_embeds_makes_an_index(corpus, tmp_path):
    index = SearchIndex.build(corpus, Lengths(), tmp_path / "lengths")
    with pytest.raises(ConfigError, match="cannot be loaded by name"): SearchIndex.load(index.path)
    again = SearchIndex.load(index.path, embedder=Lengths())
    assert again.search("anarchism", mode="dense") == index.search("anarchism", mode="dense")


def test_damage_is_named(index):
    whole = (index.path / CARD).read_bytes()
    card = json.loads(whole)
    (index.path / CARD).write_text(json.dumps({k: v for k, v in card.items() if k != "weight"}))
    with pytest.raises(ArtifactError, match="damaged"): SearchIndex.load(index.path)
    (index.path / CARD).write_bytes(whole)
    file = index.path / "encoder" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ArtifactError, match="model.safetensors"): SearchIndex.load(index.path)


def test_questions_of_another_corpus_are_refused(index):
    question = {"id": "q1", "text": "x", "relevant": {"elsewhere": 1.}}
    with pytest.raises(CorpusError, match="'q1'.*'elsewhere'"): evaluate_search(index, [question])


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=[]), max_size=400), st.text(max_size=30), st.integers(20, 100))
def test_a_snippet_is_short_and_from_the_text(text, query, width):
    said = snippet(text, query, width)
    assert len(said) <= width + 4
    assert said.removeprefix("… ").removesuffix(" …") in " ".join(text.split())


@settings(max_examples=60, deadline=None)
@given(st.text("aab b.ß ", max_size=120), st.text("ab ", max_size=6), st.integers(1, 60))
def test_the_best_window_is_the_best_of_all(text, query, width):
    "Also where a word is longer than the window"
    found = marks(text, query)
    start, last = best_window(found, width)
    worth = [gain(found, s, width) for s in range(len(text) + 1)]
    assert gain(found, start, width) == max(worth)
    assert start == next((a for a, _ in found if gain(found, a, width) == max(worth)), 0)
    assert last == max([start, *(a + n for a, n in found if start <= a and a + n <= start + width)])


def test_a_snippet_of_a_megabyte_takes_no_minute():
    "Looking at each window by itself would need 10^10 steps"
    assert snippet("sea moon "*120_000 + "radium sea", "sea radium", 40).endswith("radium sea")


def test_terms_of_nothing(): assert terms("") == [] and len(Terms(["a"], [1, ], 1)) == 1
