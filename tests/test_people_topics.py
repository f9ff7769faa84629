"Topics and search as people use them: more documents, time, merging, questions of unknown words, long passages"
import re, time

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

from textlab.core import ConfigError, CorpusError, TextlabError
from textlab.embed import Embedder
from textlab.estimator import NotFitted
from textlab.lm.retrieval import BM25, evaluate_search, rank
from textlab.lm.search import SearchIndex, snippet
from textlab.theta import TopicModel
from textlab.theta.topics import groups_of, new_numbers

THEMES = ["rose garden soil petal bloom tulip seed".split(), "dough oven bread flour yeast bake crust".split(),
          "sail wind harbour mast boat keel anchor".split(), "violin chord opera tenor score melody flute".split()]
RNG = np.random.default_rng(0)


def documents(theme, n): return [" ".join(RNG.choice(THEMES[theme], 12)) for _ in range(n)]
def vectors(theme, n): return (np.eye(4, 8)[theme]*4 + RNG.normal(0, .5, (n, 8))).astype(np.float32)


TEXTS = [t for k in range(4) for t in documents(k, 25)]
VECTORS = np.concatenate([vectors(k, 25) for k in range(4)])
LABELS = [k for k in ("garden", "bread", "sea", "music") for _ in range(25)]
COLUMNS = dict(text=TEXTS, label=LABELS, month=["Jan", "Feb", "Mar", "Dec"]*25, day=["Mon", "tuesday", "Sun.",
        "Fri"]*25,
               when=[None if i % 10 == 0 else f"{2000 + i % 3}-{1 + i % 12:02d}-01" for i in range(100)],
               stamp=[pd.Timestamp("2020-01-01") + pd.Timedelta(hours=i) for i in range(100)],
                       number=[str(i % 12) for i in range(100)], odd=[i % 2 == 1 for i in range(100)])


def fit(**options): return TopicModel(4, epochs=4, **options).fit(pd.DataFrame(COLUMNS), embeddings=VECTORS)


@pytest.fixture(scope="module")
def model(): return fit()


def test_topics_that_receive_nothing_stay(model):
    ours = fit()
    before, distances = ours.topic_vectors_.copy(), ours.hierarchy()[:, 2].copy()
    ours.partial_fit(documents(0, 10), embeddings=vectors(0, 10))
    assert len(ours.theta_) == 110
    cosines = (ours.topic_vectors_*before).sum(1)
    assert (cosines > .95).all() and np.abs(ours.hierarchy()[:, 2] - distances).max() < .2 and ours.hierarchy()[:,
            2].min() > .2
    ours.reduce(3)
    names = np.array(LABELS)[[np.argmax(np.where(np.arange(len(ours.theta_)) < 100, ours.theta_[:, k],
            -1)) for k in range(3)]]
    assert len(set(names)) == 3


def test_supervised_goes_on_with_some_classes_and_refuses_new_ones(tmp_path):
    ours = fit(mode="supervised")
    ours.partial_fit(documents(0, 10), ["garden"]*10, embeddings=vectors(0, 10))
    again = TopicModel.load(ours.save(tmp_path / "model"))
    assert (again.transform(TEXTS[:5], embeddings=VECTORS[:5]) == ours.transform(TEXTS[:5],
            embeddings=VECTORS[:5])).all()
    with pytest.raises(ConfigError, match="the label new is none of those that were learned"):
        ours.partial_fit(documents(0, 10), ["new"]*10, embeddings=vectors(0, 10))


def test_labels_that_fit_did_not_see_are_refused_in_python_and_on_the_command_line(model, tmp_path, mistake):
    seen = Dataset.from_dict({"id": [str(i) for i in range(20)], "text": TEXTS[:20],
            "label": ["garden"]*15 + ["war"]*5})
    said = "the label 'war' (5 documents) was not in the corpus that the model was fitted on"
    seen.to_json(tmp_path / "seen.jsonl")
    np.save(tmp_path / "v.npy", VECTORS[:20])
    for ours in (model, fit(mode="supervised")):
        with pytest.raises(CorpusError, match=re.escape(said)): ours.evaluate(seen, embeddings=VECTORS[:20])
        folder = ours.save(tmp_path / ours.mode)
        assert said in mistake("theta", "evaluate", folder, tmp_path / "seen.jsonl", "--embeddings", tmp_path / "v.npy")
        ours.evaluate(seen.select(range(15)), embeddings=VECTORS[:15])


def test_topics_over_time_stand_in_order(model, capfd, tmp_path):
    assert list(model.topics_over("month").columns) == ["Jan", "Feb", "Mar", "Dec"]
    assert list(model.topics_over("day").columns) == ["Mon", "tuesday", "Fri", "Sun."]
    assert list(model.topics_over("number").columns) == [str(i) for i in range(12)]
    assert list(model.topics_over("label").columns) == sorted(set(LABELS))
    dates = list(model.topics_over("when").columns)
    assert dates == sorted(dates) and "10 of 100 documents have no when and are left out" in capfd.readouterr().err
    assert model.topics_over("stamp").shape[1] == 100 and model.topics_over("stamp", bins=5).shape == (4, 5)
    assert list(model.topics_over("stamp", bins=4).columns)[0] == "2020-01-01" and model.topics_over("number",
            bins=3).shape[1] == 3
    np.testing.assert_allclose(model.topics_over("stamp", bins=5).sum(), 1, rtol=1e-5)
    assert list(model.topics_over("odd").columns) == [False, True]
    loaded = TopicModel.load(model.save(tmp_path / "model"))
    pd.testing.assert_frame_equal(loaded.topics_over("stamp", bins=5), model.topics_over("stamp", bins=5))
    with pytest.raises(ConfigError, match="holds neither dates nor numbers"): model.topics_over("label", bins=2)
    model.visualize_over("stamp", bins=3)


@pytest.mark.parametrize("values", [["week 9", "week 10", "week 100"], ["980s", "1990s", "2000s"], ["mar.", "Sept", "Dec"],
        ["January", "March", "may"], ["Q1 2020", "Q3 2020", "Q1 2021"], ["2020-Q2",
        "2020-Q4"], ["1 May 1999", "3 Jan 2000"],
                                    ["Jan 2019", "Feb 2019", "Jan 2020"], [2, 10, 30], ["-5", "0", "7.5"], ["9:30",
                                            "10:15"]])
def test_groups_are_in_order(values):
    mixed = values[1:] + values[:1]
    assert groups_of(pd.Series(mixed), "c")[1] == values


SEEDS = [{"Sailing": ["sail", "harbour"], "Music": ["violin"]}, [["Sailing", ["sail", "harbour"]], ("Music", ["violin"])],
         "Sailing: sail harbour; Music: violin"]


@pytest.mark.parametrize("seeds", SEEDS)
def test_seed_topics_come_first_and_keep_their_names(seeds, tmp_path):
    ours = fit(seed_topics=seeds)
    assert ours.topic_names()[:2] == ["Sailing", "Music"] and "_" in ours.topic_names()[2]
    assert set(ours.topic_words(7)[0]) == set(THEMES[2]) and set(ours.topic_words(7)[1]) == set(THEMES[3])
    assert (ours.theta_[50:75].argmax(1) == 0).all() and (ours.theta_[75:].argmax(1) == 1).all()
    again = TopicModel.load(ours.save(tmp_path / "m"))
    assert again.topic_names() == ours.topic_names() and again.get_params()["seed_topics"][0] == ["Sailing", ["sail", "harbour"]]
    assert "Music" in set(again.topic_info().name)
    assert again.merge_topics([[0, 1]]).topic_names()[0] == "Sailing + Music"


def test_seed_topics_that_say_nothing_are_refused():
    with pytest.raises(ConfigError, match="'Geology': none of its words is in the vocabulary"): fit(seed_topics=["Geology"])
    with pytest.raises(ConfigError, match="num_topics=4 for 5 seed topics"): fit(seed_topics=[[w] for w in "abcde"])
    for bad in (7, [7], [[]], ["A", "A"], "A:; A:", ":"):
        with pytest.raises(ConfigError, match="seed_topics"): fit(seed_topics=bad or None)
    with pytest.raises(ConfigError, match="warm start"): TopicModel(4, seed_topics=[["rose"]], warm_start=False)


def test_a_zero_shot_list_of_names_needs_an_embedder_that_knows_them():
    "MiniLM knows what a name means, whose word no document holds"
    texts = ["Bake the loaf until its crust is brown.", "Knead the flour and let the yeast rise.", "The oven is hot; the dough may go in.",
             "Hoist the mainsail, the wind is fair.", "The keel was laid, and the mast stepped.", "We anchored in the bay before dark."]*4
    ours = TopicModel(2, embedder="minilm", epochs=4, seed_topics=["boats", "cooking"], min_df=1).fit(texts)
    assert ours.topic_names() == ["boats", "cooking"]
    assert (ours.theta_.argmax(1) == [1, 1, 1, 0, 0, 0]*4).mean() == 1


def test_labels_by_any_function(model, tmp_path):
    ours, seen = fit(seed_topics=[("Music", ["violin"])]), []
    def name(words, texts): seen.append((words, texts)); return f" {words[0]}  and {words[1]}"
    ours.label_topics(name, num_words=5, docs=2)
    assert ours.topic_names()[0] == "Music" and len(seen) == 3 and all(len(w) == 5 and len(t) == 2 for w, t in seen)
    assert ours.topic_names()[1] == f"{seen[0][0][0]} and {seen[0][0][1]}" == TopicModel.load(ours.save(tmp_path / "m")).topic_names()[1]
    assert ours.label_topics(lambda words, texts: words[0], again=True).topic_names()[0] != "Music"
    with pytest.raises(ConfigError, match="it must give a text"): ours.label_topics(lambda *_: None, again=True)


def test_verbose_decides_over_the_surroundings(capfd, monkeypatch):
    monkeypatch.delenv("TEXTLAB_PROGRESS", raising=False)
    fit(verbose=False)
    assert "epoch" not in capfd.readouterr().err
    monkeypatch.setenv("TEXTLAB_PROGRESS", "0")
    fit()
    assert "epoch" not in capfd.readouterr().err
    fit(verbose=True)
    assert "epoch" in capfd.readouterr().err


@pytest.mark.parametrize("groups, new", [([0, 1], [0, 0, 1, 2]), ([[0, 1]], [0, 0, 1, 2]), ([[]], [0, 1, 2, 3]), ([],
        [0, 1, 2, 3]), ((np.int64(2), 3), [0, 1, 2, 2]),
                                         (np.array([1, 3]), [0, 1, 2, 1]), ([[0], [1, 2]], [0, 1, 1, 2]), ([{0, 3}],
                                         [0, 1, 2, 0])])
def test_topics_are_merged_however_they_are_named(groups, new): assert new_numbers(groups, 4).tolist() == new


def test_merging_what_cannot_be_is_refused():
    for groups, said in (([[0, 9]], "at most 3"), ([[0, 1], [1, 2]], "two groups"), ([0, [1]], "such as"), (["a"],
            "not a number"), (3, "such as")):
        with pytest.raises(ConfigError, match=said): new_numbers(groups, 4)


def test_a_merged_topic_lies_where_its_documents_lie():
    "Its centre is weighted by what each part received, its words and documents are those of all parts; four topics become two"
    ours = fit()
    theta, counts, centres, lists = ours.theta_.copy(), ours.topic_counts_.copy(), ours.topic_vectors_.copy(), ours.representatives_
    ours.theta_[:, 2] *= .01                                              # a topic that hardly received anything
    ours.merge_topics([[3, 0, 2]])
    size = ours.theta_.sum(0)
    parts = theta.sum(0)[[0, 2, 3]]*[1, .01, 1]
    expected = (parts[:, None]*centres[[0, 2, 3]]).sum(0)
    np.testing.assert_allclose(ours.topic_vectors_[0], expected/np.linalg.norm(expected), atol=1e-5)
    np.testing.assert_allclose(ours.topic_vectors_[1], centres[1], atol=1e-6)
    np.testing.assert_allclose(size[0], parts.sum(), rtol=1e-5)
    np.testing.assert_allclose(ours.topic_counts_, [counts[[0, 2, 3]].sum(0), counts[1]], rtol=1e-5)
    of = [{d["id"] for d in lists[k]} for k in (0, 2, 3)]
    weights = [d["weight"] for d in ours.representatives_[0]]
    assert {d["id"] for d in ours.representatives_[0]} <= set.union(*of) and weights == sorted(weights, reverse=True)
    assert ours.representatives_[1] == lists[1]
    np.testing.assert_allclose(ours.transform(TEXTS[:9], VECTORS[:9]).sum(1), 1, rtol=1e-5)


def test_one_topic_is_left():
    ours = fit()
    ours.reduce(1)
    assert ours.theta_.shape == (100, 1) and ours.reduce(1) is ours
    with pytest.raises(ConfigError, match="one topic is left"): ours.hierarchy()
    assert len(ours.topic_words(3)) == 1 and ours.predict(TEXTS[:2], embeddings=VECTORS[:2]).tolist() == [0, 0]


def test_what_is_not_fitted_says_so():
    for use in (lambda m: m.reduce(2), lambda m: m.beta_, lambda m: m.merge_topics([0, 1]), lambda m: m.hierarchy(),
            lambda m: m.topics_over("x"),
                lambda m: m.transform(["a"]), lambda m: m.evaluate(["a"]), lambda m: m.topic_words(),
                        lambda m: m.topic_info()):
        with pytest.raises(NotFitted, match="is not fitted; call fit"): use(TopicModel())


def test_a_saved_folder_holds_this_model_alone(tmp_path):
    with_checkpoints = TopicModel(4, epochs=2).fit(TEXTS, embeddings=VECTORS, checkpoint_dir=tmp_path / "checkpoints")
    names = {p.name for p in with_checkpoints.save(tmp_path / "model").iterdir()}
    assert {"best_model.pt", "last_model.pt"} <= names
    assert {p.name for p in fit().save(tmp_path / "model").iterdir()} == names - {"last_model.pt"}


# --- search -------------------------------------------------------------------------------------------

PASSAGES = [dict(id="tides", text="the tides follow the moon"), dict(id="copper", text="copper is mined here"),
        dict(id="again", text="the moon and the tides")]


class Bags(Embedder):
    "Words as vectors; a text of unknown words has none"
    known = "tides moon copper mined here".split()
    def __init__(self): super().__init__("bags", 5, lambda: None, weights="v1")
    def encode(self, texts, **_): return np.array([[w in t.split() for w in self.known] for t in texts], np.float32)
    encode_queries = encode


@pytest.fixture(scope="module")
def index(tmp_path_factory): return SearchIndex.build(PASSAGES, Bags(), tmp_path_factory.mktemp("index") / "index")


@pytest.mark.parametrize("mode", ["bm25", "dense", "hybrid"])
def test_one_question_of_unknown_words_has_no_answer(index, mode):
    none, some = index.search(["zzqx", "copper"], mode=mode)
    assert none == [] and some[0]["id"] == "copper"
    if mode == "bm25": assert [h["id"] for h in some] == ["copper"]      # what scores nothing is not found
    assert index.search("zzqx", mode=mode) == []                          # one or many: no hit, no mistake
    assert not index.scores(["zzqx", "copper"], mode)[0].any()


def test_what_scores_nothing_is_not_found_in_measures_either(index):
    questions = [dict(id="q", text="zzqx", relevant={"tides": 1.}), dict(id="r", text="copper",
            relevant={"copper": 1.})]
    for scorer, ids in ((index, None), (BM25().fit(PASSAGES), [p["id"] for p in PASSAGES])):
        row = evaluate_search(scorer, questions, ids, resamples=0)
        assert (row["R@1"], row["MRR@10"], row["nDCG@10"], row["R@100"]) == (.5, .5, .5, .5)
    assert rank(np.zeros((1, 3)), ["x"], list("abc")) == [[]]
    assert rank(np.array([[-1., -3., -1.]]), ["x"], list("abc")) == [["a", "c",
            "b"]]      # distances; ties in the corpus's order
    assert rank(np.array([[2., 0., 2.]]), ["x"], list("abc")) == [["a", "c"]]


def test_a_snippet_takes_time_in_proportion_to_its_passage():
    def seconds(n):
        text = "radium " + "sea moon süß 学习 "*n + "radium"
        start = time.process_time()
        snippet(text, "sea moon süß 学习 radium")
        return time.process_time() - start
    seconds(100)
    assert min(seconds(8000) for _ in range(3)) < 6*max(min(seconds(2000) for _ in range(3)), .01)


def test_a_question_may_begin_with_a_dash(tmp_path, answer, mistake):
    folder = tmp_path / "index"
    SearchIndex.build([dict(id="cold", text="it froze at -5 degrees"), dict(id="warm", text="a warm day")], "minilm",
            folder)
    for question in ("-5 degrees", "--5 degrees below", "-cold day"):
        assert answer("search", "query", folder, question, "--k", "1")["hits"][0]["id"] in ("cold", "warm")
    assert answer("search", "query", folder, "-5")["hits"][0]["id"] == "cold"
    assert "No such option: --modee" in mistake("search", "query", folder, "cold", "--modee", "bm25")
