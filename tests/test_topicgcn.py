"TopicGCN where its page cannot go: another process, a killed process, a damaged folder, bad input, and the command line."
import csv, html, json, os, pickle, re, shutil, signal, subprocess, warnings

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from networkx import read_graphml
from safetensors.torch import load_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import check_array
from sklearn.utils.estimator_checks import check_estimator

from conftest import NOT_FOR_TEXTS, browse, needs_chromium
from textlab.core import ArtifactError, ConfigError, CorpusError, EmbeddingError, TextlabError
from textlab.corpus import load_corpus
from textlab.embed import load_embedder
from textlab.estimator import as_documents, read
from textlab.topicgcn import gcn
from textlab.topicgcn.gcn import TopicGCN, softmax

SMALL = dict(num_topics=5, doc_features="tfidf", epochs=6, hidden_dim=16, embedding_dim=12, vocab_size=300, seed=3)


@pytest.fixture(scope="module")
def posts(): return load_corpus("newsgroups-mini", limit=80)


@pytest.fixture(scope="module")
def model(posts): return TopicGCN(**SMALL).fit(posts)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory): return model.save(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture(scope="module")
def vectors(posts):
    "Given embeddings that know the class, and none of MiniLM's loading time"
    side = np.where(np.array(posts["label"]) == "sci.space", 1., -1.)
    return (np.random.default_rng(0).normal(size=(len(posts), 8)) + side[:, None]).astype(np.float32)


def fruit(n=24):
    "Texts and labels that one word tells apart"
    return ["red apple pear ripe" if i % 2 else "blue car bus fast" for i in range(n)], ["fruit" if i % 2 else "traffic" for i in range(n)]


# --- on disk ---------------------------------------------------------------------------------------

def test_another_process_judges_the_same_to_the_last_bit(model, saved, posts, process, tmp_path):
    code = """if True:
        import sys, numpy as np
        from textlab.artifacts import load_artifact
        from textlab.corpus import load_corpus
        model = load_artifact(sys.argv[1])
        np.save(sys.argv[2], model.predict_proba(load_corpus("newsgroups-mini", limit=80)))
        print(model.explain(sys.argv[3]).to_dict() | {"classes": model.classes_.tolist()})"""
    done = process("-c", code, saved, tmp_path / "p.npy", posts["text"][1])
    assert done.returncode == 0, done.stderr
    p = np.load(tmp_path / "p.npy")
    assert p.dtype == np.float32 and np.array_equal(p, model.predict_proba(posts))
    here = model.explain(posts["text"][1]).to_dict() | {"classes": model.classes_.tolist()}
    assert done.stdout.strip() == str(here)


KILLED = """if True:
    import os, signal, sys
    from fastai.callback.core import Callback
    from textlab.corpus import load_corpus
    from textlab.topicgcn.gcn import TopicGCN
    class Kill(Callback):
        order = 90
        runs = 0
        def before_fit(self): type(self).runs += 1
        def after_batch(self):
            if self.runs == int(sys.argv[2]) and self.training and self.epoch == 3: os.kill(os.getpid(), signal.SIGKILL)
    posts = load_corpus("newsgroups-mini", limit=80)
    TopicGCN(**SMALL).fit(posts, checkpoint_dir=sys.argv[1], cbs=[Kill()])""".replace("**SMALL", f"**{SMALL}")


@pytest.mark.parametrize("part", [1, 2], ids=["while it searches", "while it trains on all"])
def test_a_killed_run_goes_on_to_the_same_weights(model, posts, process, tmp_path, part, capsys):
    done = process("-c", KILLED, tmp_path / "run", part)
    assert done.returncode == -signal.SIGKILL, done.stderr
    again = TopicGCN(**SMALL).fit(posts, checkpoint_dir=tmp_path / "run")
    assert "resuming" in capsys.readouterr().err
    one, two = model.model_.state_dict(), again.model_.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
    assert again.temperature_ == model.temperature_ and again.history_["valid_loss"] == model.history_["valid_loss"]


def damage(change):
    "A function that rewrites the weights of a saved model"
    def rewrite(folder):
        path = folder / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))
    return rewrite


DAMAGE = {
    "truncated": damage(lambda b: b[:len(b) // 2]),
    "a flipped byte": damage(lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:]),
    "a pickle": damage(lambda b: b"\x80\x04cposix\nsystem\n."),
    "gone": lambda folder: (folder / "model.safetensors").unlink(),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_folder_is_refused(saved, tmp_path, name):
    shutil.copytree(saved, tmp_path / "model")
    DAMAGE[name](tmp_path / "model")
    with pytest.raises(ArtifactError, match="model.safetensors"): TopicGCN.load(tmp_path / "model")


def test_nothing_on_disk_is_a_pickle(saved):
    assert {p.suffix for p in saved.rglob("*") if p.is_file()} <= {".json", ".safetensors", ".npy"}
    assert load_file(saved / "model.safetensors").keys() == TopicGCN.load(saved).model_.state_dict().keys()


def test_a_model_that_an_older_version_saved_still_loads(model, posts):
    state = model.to_state()
    state.config["fitted"]["classes"] = model.classes_.tolist()   # names alone, and nobody wrote down who embeds
    del state.config["fitted"]["embedder"]
    again = TopicGCN.from_state(state)
    assert list(again.predict(posts)) == list(model.predict(posts)) and again.embedder_ == "minilm"


# --- a fine-tuned encoder ---------------------------------------------------------------------------

TUNED = dict(num_topics=2, min_df=1, finetune=True, lora_epochs=3, lora_tokens=8, lora_learning_rate=2e-3, valid_share=.2,
             epochs=4, hidden_dim=16, embedding_dim=12, seed=3)


def reviews(n):
    "So many friendly and unfriendly sentences of film reviews: frozen vectors hardly tell them apart"
    corpus = load_corpus("polarity-mini", label="label")
    rows = [d for kind in ("negative", "positive") for d in [d for d, v in enumerate(corpus["label"]) if v == kind][:n]]
    return corpus.select(rows)["text"][:], corpus.select(rows)["label"][:]


REVIEWS = reviews(30)


@pytest.fixture(scope="module")
def tuned(): return TopicGCN(**TUNED).fit(*REVIEWS)


def same_encoder(one, two):
    "Have two models adapted the encoder alike, to the last bit?"
    a, b = one.tuned_.tensors(), two.tuned_.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


TUNING_KILLED = f"""if True:
    import os, signal, sys
    from fastai.callback.core import Callback
    from textlab.topicgcn.gcn import TopicGCN
    class Kill(Callback):
        order = 90
        runs = 0
        def before_fit(self): type(self).runs += 1
        def after_batch(self):
            if self.runs == int(sys.argv[2]) and self.training and self.epoch == 2: os.kill(os.getpid(), signal.SIGKILL)
    TopicGCN(**{TUNED}).fit(*{REVIEWS}, checkpoint_dir=sys.argv[1], cbs=[Kill()])"""


@pytest.mark.parametrize("part", [1, 2], ids=["while it tunes the encoder", "while it trains the graph"])
def test_a_killed_fine_tuning_goes_on_to_the_same_end(tuned, process, tmp_path, part, capsys, monkeypatch):
    done = process("-c", TUNING_KILLED, tmp_path / "run", part)
    assert done.returncode == -signal.SIGKILL, done.stderr
    if part == 2: monkeypatch.setattr("textlab.topicgcn.tune.train", None)   # what is finished is not trained again
    again = TopicGCN(**TUNED).fit(*REVIEWS, checkpoint_dir=tmp_path / "run")
    assert "resuming" in capsys.readouterr().err and same_encoder(again, tuned) and again.mix_ == tuned.mix_
    assert np.array_equal(again.predict_proba(REVIEWS[0]), tuned.predict_proba(REVIEWS[0]))


def test_a_tuned_model_judges_the_same_wherever_it_goes(tuned, process, tmp_path):
    folder = tuned.save(tmp_path / "model")
    code = """if True:
        import sys, numpy as np
        from textlab.artifacts import load_artifact
        np.save(sys.argv[2], load_artifact(sys.argv[1]).predict_proba(sys.argv[3:]))"""
    done = process("-c", code, folder, tmp_path / "p.npy", *REVIEWS[0][:4])
    assert done.returncode == 0, done.stderr
    p = tuned.predict_proba(REVIEWS[0][:4])
    assert np.array_equal(np.load(tmp_path / "p.npy"), p)
    assert np.array_equal(pickle.loads(pickle.dumps(tuned)).predict_proba(REVIEWS[0][:4]), p)
    assert {f.suffix for f in folder.rglob("*") if f.is_file()} <= {".json", ".safetensors", ".npy"}
    assert same_encoder(clone(tuned).fit(*REVIEWS), tuned)
    assert not same_encoder(clone(tuned).set_params(seed=4).fit(*REVIEWS), tuned)


def test_a_tuned_model_wants_the_weights_that_were_tuned(tuned):
    state = tuned.to_state()
    state.jsons["tuned"] = state.jsons["tuned"] | {"base": "of another model"}
    again = TopicGCN.from_state(state)
    for _ in range(2):                                                     # and it does not fall back on the plain encoder
        with pytest.raises(ArtifactError, match="other weights"): again.predict(REVIEWS[0])


def test_the_graph_of_a_tuned_model_stands_on_the_vectors_of_the_encoder_as_it_came(tuned):
    frozen = TopicGCN(**TUNED | {"finetune": False}).fit(*REVIEWS)
    for name, weight in tuned.weights().items(): assert np.array_equal(weight, frozen.weights()[name]), name
    texts = REVIEWS[0][:6]
    rows, own = tuned.rows_of(texts, load_embedder("minilm").encode(texts)), tuned.encoder_scores(texts)
    expected = softmax(tuned.temperature_*(tuned.scores(rows) + np.float32(tuned.mix_)*own))
    assert tuned.mix_ > 0 and np.allclose(tuned.predict_proba(texts), expected, atol=1e-6)
    assert not np.allclose(tuned.predict_proba(texts), frozen.predict_proba(texts), atol=1e-3)


def test_a_tuned_model_takes_the_vectors_of_the_encoder_as_it_came(tuned):
    V = load_embedder("minilm").encode(REVIEWS[0])
    given = TopicGCN(**TUNED).fit(*REVIEWS, embeddings=V)
    assert same_encoder(given, tuned) and np.allclose(given.predict_proba(REVIEWS[0], V), tuned.predict_proba(REVIEWS[0]), atol=1e-5)
    with pytest.raises(ConfigError, match="adapts the embedder"): TopicGCN(finetune=True, doc_features="tfidf")


def test_a_model_that_was_tuned_in_the_older_form_is_refused(tuned):
    state = tuned.to_state()
    del state.config["fitted"]["mix"]
    with pytest.raises(ArtifactError, match="fit it again"): TopicGCN.from_state(state)


# --- as scikit-learn has it ------------------------------------------------------------------------

@pytest.fixture(scope="module")
def lists(posts): return posts["text"][:], posts["label"][:]


def test_lists_give_what_the_corpus_gives(model, posts, lists):
    texts, labels = lists
    fitted = TopicGCN(**SMALL).fit(texts, labels)
    assert np.array_equal(fitted.predict_proba(texts), model.predict_proba(posts))
    assert fitted.score(texts, labels) == model.score(posts)


@pytest.mark.parametrize("form", ["array", "series", "table", "dict", "csv"])
def test_texts_and_labels_in_any_form(model, posts, lists, form, tmp_path):
    texts, labels = lists
    table = pd.DataFrame({"body": texts, "group": labels}, index=range(7, 87))
    table.to_csv(tmp_path / "posts.csv", index=False)
    named = dict(text="body", label="group")
    X, y, options = dict(array=(np.array(texts, dtype=object), np.array(labels), {}), series=(table.body, table.group, {}),
                         table=(table, None, named), dict=({"text": texts, "group": labels}, "group", {}),
                         csv=(tmp_path / "posts.csv", None, named))[form]
    fitted = TopicGCN(**SMALL).fit(X, y, **options)
    assert np.array_equal(fitted.predict_proba(texts), model.predict_proba(texts))
    assert fitted.score(X, y, **options) == model.score(posts)


@pytest.mark.parametrize("classes", [(True, False), (7, 3), (np.int8(2), np.int8(1)), ("b", "a")], ids=str)
def test_labels_come_back_as_they_were_given(lists, classes, tmp_path):
    texts, labels = lists
    y = [classes[label == "sci.space"] for label in labels]
    fitted = TopicGCN(**SMALL).fit(texts, y)
    assert list(fitted.classes_) == sorted(classes) and fitted.predict(texts).dtype == np.asarray(y).dtype
    assert np.mean(fitted.predict(texts) == np.asarray(y)) == fitted.score(texts, y) > .9
    again = TopicGCN.load(fitted.save(tmp_path / "model"))
    assert again.classes_.dtype == fitted.classes_.dtype and np.array_equal(again.predict(texts), fitted.predict(texts))
    why = again.explain(texts[0], classes[0])
    assert why.label == classes[0] and type(why.label) in (bool, int, str) and json.dumps(why.to_dict())
    with pytest.raises(ConfigError, match="label="): again.explain(texts[0], "neither")


def test_numbers_as_labels_on_the_command_line(lists, say, tmp_path):
    texts, labels = lists
    fitted = TopicGCN(**SMALL).fit(texts, [10 * (label == "sci.space") + 1 for label in labels])
    folder, out = fitted.save(tmp_path / "model"), tmp_path / "p.jsonl"
    status, said, err = say("topicgcn", "predict", folder, "newsgroups-mini", "--limit", 80, "--out", out, "--json")
    assert status == 0 and {row["label"] for row in json.loads(said)["classes"]} == {1, 11}, err
    assert [json.loads(line)["label"] for line in open(out, encoding="utf-8")] == fitted.predict(texts).tolist()


def test_cross_validation_a_grid_and_a_pipeline(lists):
    texts, labels = lists
    quick, folds = TopicGCN(**SMALL), StratifiedKFold(4, shuffle=True, random_state=0)
    assert cross_val_score(quick, texts, labels, cv=folds).mean() > .7
    assert cross_val_score(quick, texts, labels, cv=folds, scoring="roc_auc").mean() > .7
    search = GridSearchCV(quick, {"num_topics": np.array([4, 5]), "graph": [True, False]}, cv=2).fit(texts, labels)
    assert type(search.best_params_["num_topics"]) in (int, np.int64) and search.best_estimator_.score(texts, labels) > .9
    pipe = make_pipeline(FunctionTransformer(lambda texts: [text.lower() for text in texts]), quick)
    assert cross_val_score(pipe, texts, labels, cv=folds).mean() > .7
    again = clone(quick).fit(texts, labels)
    assert np.array_equal(again.predict_proba(texts), quick.fit(texts, labels).predict_proba(texts))


def as_words(X):
    "Rows of numbers as texts, one word per feature and level that the number reaches; a corpus as it is"
    if isinstance(X, Dataset): return X
    def word(j, level): return f"w{chr(97 + j // 26 % 26)}{chr(97 + j % 26)}{chr(110 + level)}"
    levels = range(-12, 12)
    return [" ".join(word(j, level) for j, value in enumerate(row) for level in levels if value > level / 3)
            for row in check_array(X, dtype=float)]


class OfNumbers(TopicGCN):
    "A small TopicGCN that says to scikit-learn that it reads rows of numbers"
    artifact_class = "textlab.topicgcn.gcn.OfNumbers"
    allowed = {name: TopicGCN.allowed[name] for name in ("num_topics", "epochs")}
    def __init__(self, num_topics=2, epochs=4):
        super().__init__(num_topics, doc_features="tfidf", epochs=epochs, hidden_dim=8, embedding_dim=5, min_df=1, lda_passes=2)
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False
        return tags




def test_scikit_learns_own_checks_pass_but_for_those_named_with_a_reason(monkeypatch):
    "They know numbers only, so each row of numbers becomes a text"
    monkeypatch.setattr(gcn, "read", lambda X, y=None, **options: read(as_words(X), y, **options))
    monkeypatch.setattr(gcn, "as_documents", lambda X: as_documents(as_words(X)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = check_estimator(OfNumbers(), expected_failed_checks=NOT_FOR_TEXTS, on_skip=None, on_fail=None)
    failed = {check["check_name"]: check["exception"] for check in done if check["status"] == "failed"}
    assert not failed, failed
    assert {check["check_name"] for check in done if check["status"] == "xfail"} == set(NOT_FOR_TEXTS), "one passes: take it off the list"
    assert sum(check["status"] == "passed" for check in done) >= 40


def test_one_row_for_each_text_and_no_text_is_looked_up(model, posts):
    assert model.predict("lee").shape == model.predict(["lee"]).shape == (1,)   # a text, not the name of a corpus
    assert model.predict(["", " ", "the moon", ""]).shape == (4,)
    assert model.predict_proba(pd.Series(["a", "b"], index=[5, 5])).shape == (2, 2)
    assert model.predict([]).shape == (0,) and model.predict_proba([]).shape == (0, 2)


def test_a_fit_that_fails_leaves_no_half_fitted_model(lists):
    texts, labels = lists
    fitted = TopicGCN(**SMALL).fit(texts, labels)
    with pytest.raises(CorpusError): fitted.fit(texts, ["one"] * 80)
    with pytest.raises(NotFittedError, match="not fitted; call fit"): fitted.predict(texts)


def test_another_embedder_for_another_fit(lists, vectors):
    class Given:
        def __init__(self, X): self.X = X
        def encode(self, texts): return self.X[:len(texts)]
    texts, labels = lists
    one, two = Given(vectors), Given(vectors[:, :5])
    fitted = TopicGCN(**SMALL | dict(doc_features="embedding", embedder=one)).fit(texts, labels)
    assert fitted.vector_dim_ == 8 and fitted.set_params(embedder=two).fit(texts, labels).vector_dim_ == 5


# --- labels ----------------------------------------------------------------------------------------

def test_documents_without_a_label_stay_out_or_join_the_graph(posts, capsys):
    half = posts.map(lambda row, i: {"label": row["label"] if i % 2 else ""}, with_indices=True)
    out = TopicGCN(**SMALL).fit(half)
    assert "40 of 80 documents have no label and are left out" in capsys.readouterr().err
    alone = TopicGCN(**SMALL).fit(posts.select(range(1, 80, 2)))
    assert out.graph_.num_docs == 40 and np.array_equal(out.predict_proba(posts), alone.predict_proba(posts))
    both = TopicGCN(**SMALL, inductive=False).fit(half)
    assert both.graph_.num_docs == 80 and list(both.classes_) == list(out.classes_)
    assert not np.array_equal(both.predict_proba(posts), out.predict_proba(posts))
    assert both.score(posts.select(range(0, 80, 2))) > .7   # those whose label was hidden; taken for a class, they would be guessed at


def test_a_label_seen_only_in_the_test_is_a_mistake_and_named(model, posts, capsys):
    new = posts.select(range(20)).map(lambda row, i: {"label": "rec.autos" if i < 5 else row["label"]}, with_indices=True)
    report = model.evaluate(new)
    assert "'rec.autos'" in capsys.readouterr().err
    assert report["unseen_classes"] == ["rec.autos"]
    assert report["per_class"]["rec.autos"] == {"precision": 0, "recall": 0, "f1": 0, "support": 5}
    assert report["accuracy"] <= .75


def test_of_three_classes_each_is_told_from_the_two_others(tmp_path):
    "With two classes the one is what the other is not, and half of the mistakes a classifier can make are hidden"
    words = {"fruit": "red apple pear ripe", "traffic": "blue car bus fast", "music": "loud song drum band"}
    y = [name for name in words for _ in range(20)]
    X = [words[name] for name in y]
    model = TopicGCN(num_topics=3, min_df=1, doc_features="tfidf", epochs=20, seed=3).fit(X, y)
    assert list(model.classes_) == ["fruit", "music", "traffic"] and list(model.predict(X)) == y
    scores = model.scores(model.rows_of(X[:1]))[0]
    for c, name in enumerate(model.classes_):
        why = model.explain(X[0], name, n=100)
        assert abs(why.score - (scores[c] - scores.mean())) < 1e-4 and (why.score > 0) == (name == "fruit")
        parts = [value for _, value in why.words] + [topic["contribution"] for topic in why.topics] + [why.start]
        assert abs(sum(parts) - why.score) < 1e-4
    mixed = model.explain("apple car car car song", "traffic")
    assert max(mixed.words, key=lambda word: word[1])[0].startswith("car")
    report = model.evaluate(X + X[:20], y + ["music"] * 20)               # twenty fruits that are called music
    assert report["accuracy"] == 60 / 80 and report["per_class"]["music"]["recall"] == .5
    assert report["per_class"]["fruit"]["precision"] == .5 and report["per_class"]["traffic"]["f1"] == 1


def test_a_class_with_one_document(posts, capsys):
    few = posts.map(lambda row, i: {"label": "rare" if i == 7 else row["label"]}, with_indices=True)
    fitted = TopicGCN(**SMALL, refit=False).fit(few)   # without the second training on all, it must not be held out of the first
    assert "only one document of 'rare'" in capsys.readouterr().err
    assert list(fitted.classes_) == ["alt.atheism", "rare", "sci.space"] and fitted.predict_proba(posts).shape == (80, 3)
    assert fitted.predict(posts)[7] == "rare"


@pytest.mark.parametrize("labels, says", [
    (["one"] * 80, r"one class only \(one\)"),
    ([""] * 80, "no document has a label"),
    ([f"class {i}" for i in range(80)], "classes of one document each"),
], ids=["one class", "no label", "all different"])
def test_labels_that_teach_nothing(lists, labels, says):
    with pytest.raises(CorpusError, match=says): TopicGCN(**SMALL).fit(lists[0], labels)


def test_no_column_of_labels(posts):
    with pytest.raises(ConfigError, match="has no labels"): TopicGCN(**SMALL).fit(posts.remove_columns("label"))
    with pytest.raises(TextlabError, match="no column 'kind'"): TopicGCN(**SMALL).fit(posts.to_pandas(), label="kind")


# --- texts, graph, embeddings ----------------------------------------------------------------------

def test_more_topics_than_words():
    with pytest.raises(TextlabError, match="num_topics"): TopicGCN(**SMALL | dict(num_topics=50)).fit(*fruit())


def test_a_threshold_that_isolates_every_document(posts, capsys):
    alone = TopicGCN(**SMALL | dict(doc_topic_threshold=1.)).fit(posts)
    assert "80 of 80 documents are joined to no topic" in capsys.readouterr().err
    assert alone.graph_.doc_topic.nnz == 0 and alone.score(posts) > .9   # words still tell the classes apart


def test_empty_and_unknown_texts_get_an_answer_and_a_flag(model):
    p, known = model.decide(["", "zzyzx qwertz", "the space shuttle"])
    assert known.tolist() == [False, False, True] and np.array_equal(p[0], p[1])
    assert np.isfinite(p).all() and np.allclose(p.sum(1), 1)


def test_given_embeddings(posts, vectors):
    fitted = TopicGCN(**SMALL | {"doc_features": "tfidf+embedding"}).fit(posts, embeddings=vectors)
    assert fitted.predict_proba(posts, vectors).shape == (80, 2) and fitted.score(posts, embeddings=vectors) > .9
    assert abs(fitted.explain(posts["text"][0], embedding=vectors[0]).embedding) > 0
    with pytest.raises(EmbeddingError, match="width 7 where 8"): fitted.predict(posts, vectors[:, :7])
    with pytest.raises(EmbeddingError, match="79 rows for 80"): fitted.predict(posts, vectors[1:])


@pytest.mark.parametrize("change, says", [
    (lambda X: np.where(np.arange(80)[:, None] == 17, np.nan, X), "row 17"),
    (lambda X: X[:-1], "79 rows for 80"),
    (lambda X: X[None], "2 dimensions"),
], ids=["NaN", "too few", "three dimensions"])
def test_bad_embeddings(posts, vectors, change, says):
    both = TopicGCN(**SMALL | {"doc_features": "tfidf+embedding"})
    with pytest.raises(EmbeddingError, match=says): both.fit(posts, embeddings=change(vectors))


# --- the page in a real browser --------------------------------------------------------------------

def headings(seen): return [html.unescape(found) for found in re.findall(r"<h2>(.*?)</h2>", seen)]


@needs_chromium
def test_a_browser_opens_the_topic_of_a_link(model, posts, tmp_path):
    page, words = model.graph_page(), model.topic_words(3)
    assert headings(browse(page, tmp_path)) == ["5 topics, 80 documents"]
    seen = browse(page, tmp_path, "#topic-2")
    assert headings(seen) == ["Topic 2: " + " ".join(words[2])] and seen.count('class="topic chosen"') == 1
    assert "Documents that hold most of it" in seen and "sci.space" in seen and seen.count("<article>") == 6


KEYS = """<script type="module">
const send = (at, kind, event, rest) => at.dispatchEvent(new event(kind, {bubbles: true, cancelable: true, ...rest}));
const key = name => send(document.activeElement, 'keydown', KeyboardEvent, {key: name});
const heading = () => document.querySelector('h2').textContent, seen = [];
const input = document.querySelector('input'), first = document.querySelector('g.topic');
key('/'); seen.push(document.activeElement === input);
input.value = WORD; input.dispatchEvent(new Event('input')); seen.push(heading());
key('Escape'); seen.push(input.value, heading());
first.focus();
for (const name of ['Enter', 'ArrowRight', 'ArrowLeft']) { key(name); seen.push(heading()); }
document.querySelector('aside button').click(); seen.push(heading());
const view = () => document.querySelector('svg').getAttribute('viewBox').split(' ').map(Number);
const svg = document.querySelector('svg'), before = view();
send(svg, 'wheel', WheelEvent, {deltaY: -1, clientX: 10, clientY: 10}); seen.push(view()[2] < before[2]);
const still = view()[0];
send(svg, 'pointerdown', PointerEvent, {clientX: 10, clientY: 10});
send(window, 'pointermove', PointerEvent, {clientX: 60, clientY: 10}); seen.push(view()[0] < still);
send(window, 'pointerup', PointerEvent);
send(first, 'click', MouseEvent); seen.push(heading());
document.title = JSON.stringify(seen);
</script></body>"""


@needs_chromium
def test_a_browser_is_driven_by_keys_and_pointer(model, tmp_path):
    words = model.topic_words(15)
    mass = np.asarray(model.graph_.doc_topic.sum(axis=0)).ravel()
    largest, second = (f"Topic {k}: {' '.join(words[k][:3])}" for k in np.argsort(-mass)[:2])
    found = sum(any(words[0][0] in word for word in some) for some in words)
    page = model.graph_page().replace("</body>", KEYS.replace("WORD", json.dumps(words[0][0].upper())))
    assert re.findall("<title>(.*?)</title>", browse(page, tmp_path)) == ["Topic graph"]   # sealed: a script that was put in does not run
    open_page = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    [title] = re.findall("<title>(.*?)</title>", browse(open_page, tmp_path))
    all_topics = "5 topics, 80 documents"
    assert json.loads(html.unescape(title)) == [
        True, f"{found} of 5 topics", "", all_topics, largest, second, largest, all_topics,
        True, True, all_topics]   # zoomed in, moved, and the click that ended the drag opened nothing


# --- the command line ------------------------------------------------------------------------------

@pytest.fixture
def kept(saved, tmp_path): return [tmp_path, saved.parent]


OPTIONS = [a for name, value in SMALL.items() for a in (f"--{name.replace('_', '-')}", value)]


def test_the_whole_way(say, model, posts, tmp_path):
    folder = tmp_path / "judge"
    status, out, err = say("topicgcn", "fit", "newsgroups-mini", "--limit", 80, *OPTIONS, "--out", folder, "--json")
    answer = json.loads(out)
    assert status == 0 and out.count("\n") == 1 and [p.name for p in tmp_path.iterdir()] == ["judge"], err
    assert answer["classes"] == {c: posts["label"].count(c) for c in model.classes_}
    assert answer["graph"]["topics"] == 5 and answer["valid_accuracy"] == model.metrics_["valid_accuracy"]

    p, known = model.decide(posts)
    for name in ("p.jsonl", "p.csv"):
        assert say("topicgcn", "predict", folder, "newsgroups-mini", "--limit", 80, "--out", tmp_path / name)[0] == 0
    rows = [json.loads(line) for line in open(tmp_path / "p.jsonl", encoding="utf-8")]
    assert [list(r) for r in rows] == [["id", "label", "probability", "known"]] * 80
    assert [r["id"] for r in rows] == posts["id"][:] and [r["known"] for r in rows] == known.tolist()
    assert [r["label"] for r in rows] == model.predict(posts).tolist()
    assert np.allclose([r["probability"] for r in rows], p.max(1), atol=1e-6)
    in_csv = [r["label"] for r in csv.DictReader(open(tmp_path / "p.csv", encoding="utf-8"))]
    assert in_csv == [r["label"] for r in rows]

    status, out, _ = say("topicgcn", "evaluate", folder, "newsgroups-mini", "--limit", 80, "--label", "label", "--json")
    report = json.loads(out)
    assert status == 0 and {"accuracy", "macro_f1", "micro_f1", "per_class"} <= report.keys()
    assert report["accuracy"] == model.score(posts) and sum(r["support"] for r in report["per_class"].values()) == 80
    assert "macro F1" in say("topicgcn", "evaluate", folder, "newsgroups-mini", "--limit", 80)[1]

    text = "The space shuttle reached its orbit."
    status, out, _ = say("topicgcn", "explain", folder, "--text", text, "--label", "alt.atheism", "--json")
    why = json.loads(json.dumps(model.explain(text, "alt.atheism").to_dict()))
    assert status == 0 and {k: v for k, v in json.loads(out).items() if k not in ("model", "text")} == why
    assert say("topicgcn", "explain", folder, "--text", text)[1].startswith("sci.space  (probability")

    for name in ("g.html", "g.graphml"): assert say("topicgcn", "graph", folder, "--out", tmp_path / name)[0] == 0
    assert (tmp_path / "g.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    g = read_graphml(tmp_path / "g.graphml")
    assert g.number_of_nodes() == 85 and g.number_of_edges() == model.graph_.stats()["edges"]
    assert g.nodes["0"]["label"] == posts["label"][0]


def test_mistakes_on_the_way(mistake, saved, tmp_path, vectors):
    new, fit = tmp_path / "new", ["fit", "newsgroups-mini", "--limit", 80, *OPTIONS]
    np.save(tmp_path / "v.npy", vectors)
    np.save(tmp_path / "nan.npy", np.where(np.arange(80)[:, None] == 17, np.nan, vectors))
    (tmp_path / "one.csv").write_text("text,label\n" + "".join(f"text {i} of the moon,moon\n" for i in range(9)))
    (tmp_path / "none.csv").write_text("text,label\n" + "".join(f"text {i} of the moon,\n" for i in range(9)))
    (tmp_path / "folder.jsonl").mkdir()
    for argv, says in [
        (["fit", "lee", "--out", new], "--label"),
        (["fit", "newsgroups-mini", "--label", "kind", "--out", new], "no column 'kind'"),
        (["fit", tmp_path / "one.csv", "--out", new], "one class only"),
        (["fit", tmp_path / "none.csv", "--out", new], "no document has a label"),
        ([*fit, "--doc_features", "tf-idf", "--out", new], "doc_features"),
        ([*fit, "--dropout", "2", "--out", new], "dropout"),
        ([*fit, "--num_topics", "0", "--out", new], "num_topics"),
        ([*fit, "--embeddings", tmp_path / "v.npy", "--out", new], "reads no embeddings"),
        ([*fit, "--doc_features", "tfidf+embedding", "--embeddings", tmp_path / "nan.npy", "--out", new], "row 17"),
        ([*fit, "--out", saved], "--overwrite"),
        ([*fit, "--out", tmp_path / "v.npy"], "is a file"),
        (["predict", saved, "newsgroups-mini", "--out", tmp_path / "p.xlsx"], ".jsonl or .csv"),
        (["predict", saved, "newsgroups-mini", "--out", tmp_path / "folder.jsonl"], "is a folder"),
        (["predict", saved, "newsgroups-mini", "--embeddings", tmp_path / "v.npy", "--out", tmp_path / "p.csv"], "reads no embeddings"),
        (["predict", new, "newsgroups-mini", "--out", tmp_path / "p.csv"], "no such folder"),
        (["evaluate", saved, "lee"], "--label"),
        (["evaluate", saved, tmp_path / "none.csv"], "none of the documents has a label"),
        (["explain", saved, "--text", "a rocket", "--label", "sci.spce"], "did you mean 'sci.space'"),
        (["explain", saved, "--text", " "], "--text is empty"),
        (["explain", saved], "Missing option '--text'"),
        (["graph", saved, "--out", tmp_path / "g.png"], ".html or .graphml"),
    ]: assert says in mistake("topicgcn", *argv), argv


def test_an_interrupted_command_goes_on(say, model, tmp_path, monkeypatch):
    from textlab.train import Checkpoint
    after = Checkpoint.after_epoch
    def stop(self):
        after(self)
        if self.epoch == 2: raise KeyboardInterrupt
    fit = ["topicgcn", "fit", "newsgroups-mini", "--limit", 80, *OPTIONS, "--out", tmp_path / "judge"]
    with monkeypatch.context() as m:
        m.setattr(Checkpoint, "after_epoch", stop)
        status, out, err = say(*fit)
    assert (status, out) == (130, "")
    last = "textlab: interrupted; run the same command again to go on from the last checkpoint"
    assert err.splitlines()[-1] == last
    assert [p.name for p in tmp_path.iterdir()] == ["judge.partial"]
    status, out, err = say(*fit)
    assert status == 0 and "resuming" in err and [p.name for p in tmp_path.iterdir()] == ["judge"]
    one, two = model.model_.state_dict(), load_file(tmp_path / "judge/model.safetensors")
    assert all(torch.equal(one[k], two[k]) for k in one)
    history = json.loads((tmp_path / "judge/training_history.json").read_bytes())
    assert history["valid_loss"] == model.history_["valid_loss"]


# --- more than two classes ---------------------------------------------------------------------------

THEMES = dict(fruit="apple pear ripe orchard".split(), traffic="car bus road fast".split(), sea="wave sail tide boat".split(),
              music="chord opera violin tune".split())


@pytest.fixture(scope="module")
def four():
    rng = np.random.default_rng(0)
    labels = [name for name in THEMES for _ in range(20)]
    return TopicGCN(**SMALL).fit([" ".join(rng.choice(THEMES[l], 6)) for l in labels], labels)


def test_probabilities_and_labels_of_four_classes(four):
    texts = [" ".join(words) for words in THEMES.values()]
    p = four.predict_proba(texts)
    assert p.shape == (4, 4) and np.allclose(p.sum(1), 1, atol=1e-5) and four.predict(texts).tolist() == list(THEMES)
    report = four.evaluate(texts + texts[:1], [*THEMES, "sea"])               # the last one is fruit
    assert report["accuracy"] == .8 and report["per_class"]["sea"]["recall"] == .5 and report["per_class"]["fruit"]["precision"] == .5


def test_a_contribution_is_taken_less_the_mean_of_all_classes(four):
    "With two classes the mean, the other class and the strongest rival tell the same story"
    table = np.array([[4., 1, 1, -2], [1, 1, 1, 1]])
    np.testing.assert_allclose(np.stack([gcn.against_mean(table, c) for c in range(4)], 1), [[3, 0, 0, -3], [0, 0, 0, 0]])
    raw = four.weights()["words"]                                             # [V, C]
    why = {c: four.explain("apple sail", c) for c in THEMES}
    for word in ("apple", "sail"):
        pulls = np.array([dict(why[str(c)].words)[word] for c in four.classes_])
        row = raw[four.words_.index[word]]
        np.testing.assert_allclose(pulls, pulls.max()/(row - row.mean()).max()*(row - row.mean()), rtol=1e-3, atol=1e-6)
    for w in why.values():
        parts = [v for _, v in w.words] + [t["contribution"] for t in w.topics] + [w.embedding, w.start]
        assert w.score == pytest.approx(sum(parts), abs=1e-4)
    assert sum(w.score for w in why.values()) == pytest.approx(0, abs=1e-4)


def test_the_weight_of_the_embedding_is_asked_of_the_corpus():
    "Where words distract and the embedding knows, it weighs more; a number that is given stays; a loaded model has it"
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    texts = [" ".join(f"w{w}" for w in rng.integers(0, 300, 3)) for _ in y]
    V = np.concatenate([np.full((600, 1), 4.), np.eye(3)[y] + rng.normal(0, .45, (600, 3))], 1).astype(np.float32)
    options = SMALL | dict(doc_features="tfidf+embedding", epochs=2, refit=False, token_pattern=r"\w+")
    asked = TopicGCN(**options).fit(texts, y, embeddings=V)
    fixed = TopicGCN(**options, embedding_weight=.3).fit(texts, y, embeddings=V)
    assert asked.embedding_weight is None and asked.embedding_weight_ > .3 == fixed.embedding_weight_
    few = TopicGCN(**options).fit(texts[:60], y[:60], embeddings=V[:60])
    assert few.embedding_weight_ == .3
