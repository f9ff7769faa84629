"TopicGCN where its page cannot go: another process, a killed process, a damaged folder, bad input, and the command line."
import csv, html, json, os, re, shutil, signal, subprocess

import numpy as np
import pytest
import torch
from datasets import Dataset
from networkx import read_graphml
from safetensors.torch import load_file

from textlab.core import ArtifactError, ConfigError, CorpusError, EmbeddingError, TextlabError
from textlab.corpus import load_corpus
from textlab.topicgcn.gcn import TopicGCN

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


def corpus(rows): return Dataset.from_dict({"id": [str(i) for i in range(len(rows))], "text": [t for t, _ in rows], "label": [l for _, l in rows]})


def fruit(n=24): return corpus([(("red apple pear ripe", "fruit") if i % 2 else ("blue car bus fast", "traffic")) for i in range(n)])


# --- on disk ---------------------------------------------------------------------------------------

def test_another_process_judges_the_same_to_the_last_bit(model, saved, posts, process, tmp_path):
    code = """if True:
        import sys, numpy as np
        from textlab.artifacts import load_artifact
        from textlab.corpus import load_corpus
        model = load_artifact(sys.argv[1])
        np.save(sys.argv[2], model.predict_proba(load_corpus("newsgroups-mini", limit=80)))
        print(model.explain(sys.argv[3]).to_dict() | {"classes": model.classes_})"""
    done = process("-c", code, saved, tmp_path / "p.npy", posts["text"][1])
    assert done.returncode == 0, done.stderr
    p = np.load(tmp_path / "p.npy")
    assert p.dtype == np.float32 and np.array_equal(p, model.predict_proba(posts))
    assert done.stdout.strip() == str(model.explain(posts["text"][1]).to_dict() | {"classes": model.classes_})


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
    TopicGCN(**SMALL).fit(load_corpus("newsgroups-mini", limit=80), checkpoint_dir=sys.argv[1], cbs=[Kill()])""".replace("**SMALL", f"**{SMALL}")


@pytest.mark.parametrize("part", [1, 2], ids=["while it searches", "while it trains on all"])
def test_a_killed_run_goes_on_to_the_same_weights(model, posts, process, tmp_path, part, capsys):
    done = process("-c", KILLED, tmp_path / "run", part)
    assert done.returncode == -signal.SIGKILL, done.stderr
    again = TopicGCN(**SMALL).fit(posts, checkpoint_dir=tmp_path / "run")
    assert "resuming" in capsys.readouterr().err
    one, two = model.model_.state_dict(), again.model_.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
    assert again.temperature_ == model.temperature_ and again.history_["valid_loss"] == model.history_["valid_loss"]


def damage(change): return lambda folder: (folder / "model.safetensors").write_bytes(change((folder / "model.safetensors").read_bytes()))


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


# --- labels ----------------------------------------------------------------------------------------

def test_documents_without_a_label_stay_out_or_join_the_graph(posts, capsys):
    half = posts.map(lambda row, i: {"label": row["label"] if i % 2 else ""}, with_indices=True)
    out = TopicGCN(**SMALL).fit(half)
    assert "40 of 80 documents have no label and are left out" in capsys.readouterr().err
    alone = TopicGCN(**SMALL).fit(posts.select(range(1, 80, 2)))
    assert out.graph_.num_docs == 40 and np.array_equal(out.predict_proba(posts), alone.predict_proba(posts))
    both = TopicGCN(**SMALL, inductive=False).fit(half)
    assert both.graph_.num_docs == 80 and both.classes_ == out.classes_
    assert not np.array_equal(both.predict_proba(posts), out.predict_proba(posts))
    assert both.score(posts.select(range(0, 80, 2))) > .7   # those whose label was hidden; taken for a class, they would be guessed at


def test_a_label_seen_only_in_the_test_is_a_mistake_and_named(model, posts, capsys):
    new = posts.select(range(20)).map(lambda row, i: {"label": "rec.autos" if i < 5 else row["label"]}, with_indices=True)
    report = model.evaluate(new)
    assert "'rec.autos'" in capsys.readouterr().err
    assert report["unseen_classes"] == ["rec.autos"] and report["per_class"]["rec.autos"] == {"precision": 0, "recall": 0, "f1": 0, "support": 5}
    assert report["accuracy"] <= .75


def test_a_class_with_one_document(posts, capsys):
    few = posts.map(lambda row, i: {"label": "rare" if i == 7 else row["label"]}, with_indices=True)
    fitted = TopicGCN(**SMALL, refit=False).fit(few)   # without the second training on all, it must not be held out of the first
    assert "only one document of 'rare'" in capsys.readouterr().err
    assert fitted.classes_ == ["alt.atheism", "rare", "sci.space"] and fitted.predict_proba(posts).shape == (80, 3)
    assert fitted.predict(posts)[7] == "rare"


@pytest.mark.parametrize("labels, says", [(lambda i: "one", r"one class only \(one\)"), (lambda i: "", "no document has a label"), (lambda i: f"class {i}", "classes of one document each")],
                         ids=["one class", "no label", "all different"])
def test_labels_that_teach_nothing(posts, labels, says):
    with pytest.raises(CorpusError, match=says): TopicGCN(**SMALL).fit(posts.map(lambda row, i: {"label": labels(i)}, with_indices=True))


def test_no_column_of_labels(posts):
    with pytest.raises(ConfigError, match="has no labels"): TopicGCN(**SMALL).fit(posts.remove_columns("label"))
    with pytest.raises(TextlabError, match="no column 'kind'"): TopicGCN(**SMALL).fit(posts.to_pandas(), label="kind")


# --- texts, graph, embeddings ----------------------------------------------------------------------

def test_more_topics_than_words():
    with pytest.raises(TextlabError, match="num_topics"): TopicGCN(**SMALL | dict(num_topics=50)).fit(fruit())


def test_a_threshold_that_isolates_every_document(posts, capsys):
    alone = TopicGCN(**SMALL | dict(doc_topic_threshold=1.)).fit(posts)
    assert "80 of 80 documents are joined to no topic" in capsys.readouterr().err
    assert alone.graph_.doc_topic.nnz == 0 and alone.score(posts) > .9   # words still tell the classes apart


def test_empty_and_unknown_texts_get_an_answer_and_a_flag(model):
    p, known = model.decide(["", "zzyzx qwertz", "the space shuttle"])
    assert known.tolist() == [False, False, True] and np.isfinite(p).all() and np.allclose(p.sum(1), 1) and np.array_equal(p[0], p[1])


def test_given_embeddings(posts, vectors):
    fitted = TopicGCN(**SMALL | {"doc_features": "tfidf+embedding"}).fit(posts, embeddings=vectors)
    assert fitted.predict_proba(posts, vectors).shape == (80, 2) and fitted.score(posts, embeddings=vectors) > .9
    assert abs(fitted.explain(posts["text"][0], embedding=vectors[0]).embedding) > 0
    with pytest.raises(EmbeddingError, match="width 7 where 8"): fitted.predict(posts, vectors[:, :7])
    with pytest.raises(EmbeddingError, match="79 rows for 80"): fitted.predict(posts, vectors[1:])


@pytest.mark.parametrize("change, says", [(lambda X: np.where(np.arange(80)[:, None] == 17, np.nan, X), "row 17"), (lambda X: X[:-1], "79 rows for 80"), (lambda X: X[None], "2 dimensions")],
                         ids=["NaN", "too few", "three dimensions"])
def test_bad_embeddings(posts, vectors, change, says):
    with pytest.raises(EmbeddingError, match=says): TopicGCN(**SMALL | {"doc_features": "tfidf+embedding"}).fit(posts, embeddings=change(vectors))


# --- the page in a real browser --------------------------------------------------------------------

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (found := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")


def browse(page, tmp_path, address=""):
    "The document as a browser leaves it"
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"]
    command = [CHROMIUM, *flags, f"--user-data-dir={tmp_path / 'browser'}", "--virtual-time-budget=5000", "--dump-dom", f"{path.as_uri()}{address}"]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, env={**os.environ, "HOME": str(tmp_path)}).stdout


def headings(seen): return [html.unescape(found) for found in re.findall(r"<h2>(.*?)</h2>", seen)]


@needs_chromium
def test_a_browser_opens_the_topic_of_a_link(model, posts, tmp_path):
    page, words = model.graph_page(), model.topic_words(3)
    assert headings(browse(page, tmp_path)) == ["5 topics, 80 documents"]
    seen = browse(page, tmp_path, "#topic-2")
    assert headings(seen) == ["Topic 2: " + " ".join(words[2])] and seen.count('class="topic chosen"') == 1
    assert "Documents that hold most of it" in seen and "sci.space" in seen and seen.count("<article>") == 6


KEYS = """<script type="module">
const key = (k, at = document.activeElement) => at.dispatchEvent(new KeyboardEvent('keydown', {key: k, bubbles: true, cancelable: true}));
const heading = () => document.querySelector('h2').textContent, seen = [];
const input = document.querySelector('input'), first = document.querySelector('g.topic');
key('/'); seen.push(document.activeElement === input);
input.value = WORD; input.dispatchEvent(new Event('input')); seen.push(heading());
key('Escape'); seen.push(input.value, heading());
first.focus(); key('Enter'); seen.push(heading()); key('ArrowRight'); seen.push(heading()); key('ArrowLeft'); seen.push(heading());
document.querySelector('aside button').click(); seen.push(heading());
const view = () => document.querySelector('svg').getAttribute('viewBox').split(' ').map(Number);
const svg = document.querySelector('svg'), before = view();
svg.dispatchEvent(new WheelEvent('wheel', {deltaY: -1, clientX: 10, clientY: 10, cancelable: true})); seen.push(view()[2] < before[2]);
svg.dispatchEvent(new PointerEvent('pointerdown', {clientX: 10, clientY: 10}));
const still = view()[0]; window.dispatchEvent(new PointerEvent('pointermove', {clientX: 60, clientY: 10})); seen.push(view()[0] < still);
window.dispatchEvent(new PointerEvent('pointerup', {})); first.dispatchEvent(new MouseEvent('click')); seen.push(heading());
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
    assert json.loads(html.unescape(title)) == [True, f"{found} of 5 topics", "", all_topics, largest, second, largest, all_topics,
                                                True, True, all_topics]   # the click that ended a drag opened nothing


# --- the command line ------------------------------------------------------------------------------

@pytest.fixture
def kept(saved, tmp_path): return [tmp_path, saved.parent]


OPTIONS = [a for name, value in SMALL.items() for a in (f"--{name.replace('_', '-')}", value)]


def test_the_whole_way(say, model, posts, tmp_path):
    folder = tmp_path / "judge"
    status, out, err = say("topicgcn", "fit", "newsgroups-mini", "--limit", 80, *OPTIONS, "--out", folder, "--json")
    answer = json.loads(out)
    assert status == 0 and out.count("\n") == 1 and [p.name for p in tmp_path.iterdir()] == ["judge"], err
    assert answer["classes"] == {c: posts["label"].count(c) for c in model.classes_} and answer["graph"]["topics"] == 5 and answer["valid_accuracy"] == model.metrics_["valid_accuracy"]

    p, known = model.decide(posts)
    for name in ("p.jsonl", "p.csv"): assert say("topicgcn", "predict", folder, "newsgroups-mini", "--limit", 80, "--out", tmp_path / name)[0] == 0
    rows = [json.loads(line) for line in open(tmp_path / "p.jsonl", encoding="utf-8")]
    assert [list(r) for r in rows] == [["id", "label", "probability", "known"]] * 80 and [r["id"] for r in rows] == posts["id"][:]
    assert [r["label"] for r in rows] == [model.classes_[c] for c in p.argmax(1)] and np.allclose([r["probability"] for r in rows], p.max(1), atol=1e-6) and [r["known"] for r in rows] == known.tolist()
    assert [r["label"] for r in csv.DictReader(open(tmp_path / "p.csv", encoding="utf-8"))] == [r["label"] for r in rows]

    status, out, _ = say("topicgcn", "evaluate", folder, "newsgroups-mini", "--limit", 80, "--label", "label", "--json")
    report = json.loads(out)
    assert status == 0 and {"accuracy", "macro_f1", "micro_f1", "per_class"} <= report.keys()
    assert report["accuracy"] == model.score(posts) and sum(r["support"] for r in report["per_class"].values()) == 80
    assert "macro F1" in say("topicgcn", "evaluate", folder, "newsgroups-mini", "--limit", 80)[1]

    text = "The space shuttle reached its orbit."
    status, out, _ = say("topicgcn", "explain", folder, "--text", text, "--label", "alt.atheism", "--json")
    assert status == 0 and {k: v for k, v in json.loads(out).items() if k not in ("model", "text")} == json.loads(json.dumps(model.explain(text, "alt.atheism").to_dict()))
    assert say("topicgcn", "explain", folder, "--text", text)[1].startswith("sci.space  (probability")

    for name in ("g.html", "g.graphml"): assert say("topicgcn", "graph", folder, "--out", tmp_path / name)[0] == 0
    assert (tmp_path / "g.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    g = read_graphml(tmp_path / "g.graphml")
    assert g.number_of_nodes() == 85 and g.number_of_edges() == model.graph_.stats()["edges"] and g.nodes["0"]["label"] == posts["label"][0]


def test_mistakes_on_the_way(mistake, saved, tmp_path, vectors):
    new, fit = tmp_path / "new", ["fit", "newsgroups-mini", "--limit", 80, *OPTIONS]
    np.save(tmp_path / "v.npy", vectors); np.save(tmp_path / "nan.npy", np.where(np.arange(80)[:, None] == 17, np.nan, vectors))
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
    assert (status, out) == (130, "") and err.splitlines()[-1] == "textlab: interrupted; run the same command again to go on from the last checkpoint"
    assert [p.name for p in tmp_path.iterdir()] == ["judge.partial"]
    status, out, err = say(*fit)
    assert status == 0 and "resuming" in err and [p.name for p in tmp_path.iterdir()] == ["judge"]
    one, two = model.model_.state_dict(), load_file(tmp_path / "judge/model.safetensors")
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert json.loads((tmp_path / "judge/training_history.json").read_bytes())["valid_loss"] == model.history_["valid_loss"]
