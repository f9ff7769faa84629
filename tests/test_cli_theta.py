"The command line of THETA: the whole way once, an interruption, and a mistake is one line that leaves nothing."
import csv, errno, json, os, shutil, subprocess, sys
from pathlib import Path

import numpy as np, pytest


# --- the whole way, once ---------------------------------------------------------------------------

@pytest.fixture(scope="module")
def fitted(tmp_path_factory, process):
    "A supervised model of 80 posts, by a real process with real embeddings"
    folder = tmp_path_factory.mktemp("fitted")
    argv = ["theta", "fit", "newsgroups-mini", "--limit", "80", "--num-topics", "5", "--mode=supervised", "--epochs", "3",
            "--embedder", "minilm", "--kl-warmup", "1", "--out", folder / "model", "--json"]
    return folder, process("-m", "textlab", *argv)


def test_fit(fitted):
    folder, done = fitted
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1 and (answer["num_topics"], answer["documents"], answer["epochs"]) == (5, 80, 3)
    assert sum(t["documents"] for t in answer["topics"]) == 80 and all(len(t["words"]) == 8 for t in answer["topics"])
    assert [p.name for p in folder.iterdir()] == ["model"]
    files = {"best_model.pt", "last_model.pt", "training_history.json", "config.json", "model.safetensors"}
    assert files <= {p.name for p in (folder / "model").iterdir()}


def test_topics(fitted, say):
    status, out, err = say("theta", "topics", fitted[0] / "model", "--num_words", "4", "--json")
    topics = json.loads(out)["topics"]
    assert (status, err, len(topics)) == (0, "", 5) and {len(t["words"]) for t in topics} == {4}
    status, out, err = say("theta", "topics", fitted[0] / "model", "--topic", "3", "--docs", "2", "--method", "beta")
    assert (status, err) == (0, "") and out.startswith("topic 3:") and out.count("post-") == 2


def test_transform(fitted, say, tmp_path):
    model = fitted[0] / "model"
    for name in ("theta.npy", "theta.csv"):
        assert say("theta", "transform", model, "newsgroups-mini", "--limit", "12", "--out", tmp_path / name)[0] == 0
    theta = np.load(tmp_path / "theta.npy")
    assert theta.shape == (12, 5) and theta.dtype == np.float32 and np.allclose(theta.sum(1), 1, atol=1e-5)
    assert np.allclose(theta, np.load(model / "theta.npy")[:12], atol=1e-5)
    rows = list(csv.DictReader(open(tmp_path / "theta.csv")))
    assert [r["id"] for r in rows] == [f"post-{i}" for i in range(12)]
    assert [int(r["topic"]) for r in rows] == theta.argmax(1).tolist()


def test_evaluate(fitted, say):
    status, out, _ = say("theta", "evaluate", fitted[0] / "model", "newsgroups-mini", "--limit", "60", "--json")
    row = json.loads(out, parse_constant=lambda c: pytest.fail(f"{c} in the JSON"))
    assert status == 0 and {"td@25", "nmi", "purity", "accuracy"} <= row.keys() and 0 < row["td@25"] <= 1


def test_a_reader_that_hangs_up_is_no_error(fitted, quiet):
    line = [sys.executable, "-m", "textlab", "theta", "topics", str(fitted[0] / "model")]
    buffered = quiet | {"PYTHONUNBUFFERED": ""}  # as a user's shell has it
    p = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered)
    p.stdout.close()
    assert (p.stderr.read(), p.wait(60)) == (b"", 141)
    p.stderr.close()


# --- stopping and going on -------------------------------------------------------------------------

@pytest.fixture
def small(tmp_path):
    "Sixty short texts with vectors, and the command that fits them"
    rng = np.random.default_rng(0)
    words = [[f"{w}{c}" for c in "abcdefgh"] for w in ("moon", "army", "cell")]
    rows = [(f"d{i}", " ".join(rng.choice(words[i % 3], 12)), f"kind{i % 3}") for i in range(60)]
    write(tmp_path / "in/texts.csv", rows)
    centres = rng.normal(size=(3, 8))
    X = centres[np.arange(60) % 3] + .1 * rng.normal(size=(60, 8))
    np.save(tmp_path / "in/vectors.npy", X.astype(np.float32))
    texts, vectors = tmp_path / "in/texts.csv", tmp_path / "in/vectors.npy"
    return ["theta", "fit", texts, "--embeddings", vectors, "--num_topics", 3, "--epochs", 4]


def write(path, rows, header=("id", "text", "label")):
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as f: csv.writer(f).writerows([header, *rows])
    return path


def test_ctrl_c_keeps_the_checkpoint_and_the_same_command_goes_on(small, goes_on):
    assert {"training_state.pt", "best_model.pt", "last_model.pt", "training_history.json"} <= goes_on(1, *small)


def test_a_full_disk_leaves_the_checkpoints_and_the_next_run_goes_on(small, say, tmp_path, monkeypatch):
    import textlab.artifacts
    def full(*args): raise OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(textlab.artifacts, "write_tensors", full)
        status, out, err = say(*small, "--out", tmp_path / "model")
    assert (status, out) == (2, "") and "the disk is full" in err.splitlines()[-1]
    assert [path.name for path in tmp_path.glob("model*")] == ["model.partial"]
    status, _, _ = say(*small, "--out", tmp_path / "model")
    assert status == 0 and [path.name for path in tmp_path.glob("model*")] == ["model"]


def test_overwrite_is_asked_for(small, say, mistake, tmp_path):
    assert say(*small, "--out", tmp_path / "m")[0] == 0
    assert "--overwrite" in mistake(*small, "--out", tmp_path / "m")
    assert say(*small, "--out", tmp_path / "m", "--overwrite", "--seed", 1)[0] == 0


# --- bad input -------------------------------------------------------------------------------------

def lines(row, n=30):
    "A file of ids and texts"
    return "id,text\n" + "".join(row(i) + "\n" for i in range(n))


BAD_FILES = {
    "an empty file": ("", "is empty"),
    "only a header": ("id,text\n", "holds no rows"),
    "one document": ("id,text\na,a single text about the moon\n", "1 document"),
    "only stop words": (lines(lambda i: f"d{i},it is the and of"), "stop words"),
    "identical texts": (lines(lambda i: f"d{i},the same moon landing again"), "fewer than 3 different"),
    "a missing id": (lines(lambda i: f"{'' if i == 7 else i},text {i} of the moon"), "line 9"),
    "a duplicate id": (lines(lambda i: f"{min(i, 20)},text {i} of the moon"), "'20'"),
    "not UTF-8": ("id,text\na,caf\xe9\nb,bar\n".encode("latin-1"), "line 2"),
    "a missing column": ("id,body\na,moon\n", "no column 'text'"),
    "too many topics": (lines(lambda i: f"d{i},moon {'abc'[i % 3]*4}", 6), "num_topics=9", "--num_topics", "9"),
    "no labels to learn from": (lines(lambda i: f"d{i},text {i} of the moon"), "label", "--mode", "supervised"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(mistake, tmp_path, name):
    content, says, *more = BAD_FILES[name]
    (tmp_path / "in.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    options = more or ["--num_topics", "3"]
    n = max(1, len(content.splitlines()) - 1)
    np.save(tmp_path / "v.npy", np.ones((n, 8), np.float32))
    fit = ("theta", "fit", tmp_path / "in.csv", "--embeddings", tmp_path / "v.npy", "--out", tmp_path / "model")
    assert says in mistake(*fit, *options)


BAD_VECTORS = {
    "NaN": (lambda X: np.where(np.arange(60)[:, None] == 17, np.nan, X), "row 17"),
    "too few": (lambda X: X[:-1], "59 rows for 60 documents"),
    "three dimensions": (lambda X: X[None], "2 dimensions"),
    "words": (lambda X: X.astype(str), "not numbers"),
    "objects": (lambda X: np.array([{}] * 60, dtype=object), "pickle"),
}


@pytest.mark.parametrize("name", BAD_VECTORS)
def test_bad_vectors(small, mistake, tmp_path, name):
    change, says = BAD_VECTORS[name]
    np.save(tmp_path / "in/vectors.npy", change(np.load(tmp_path / "in/vectors.npy")))
    assert says in mistake(*small, "--out", tmp_path / "model")


@pytest.mark.parametrize("option, says", [
    (("--num_topcs", 5), "--num_topics"), (("--epochs", "ten"), "valid integer"), (("--epochs", 0), "epochs"),
    (("--mode", "zeroshot"), "did you mean 'zero_shot'"), (("--model_size", "0.7B"), "0.6B"), (("--seed", -1), "seed"),
    (("--learning_rate", "nan"), "learning_rate"), (("--limit", 0), "limit"), (("--text", "body"), "no column 'body'"),
    (("--split", "train"), "split"), (("--batch_size", 0), "batch_size"),
    (("--embeddings", "missing.npy"), "no such file"), (("extra",), "extra"),
], ids=lambda v: " ".join(map(str, v)) if isinstance(v, tuple) else "")
def test_bad_options(small, mistake, tmp_path, option, says):
    assert says in mistake(*small, *option, "--out", tmp_path / "model")


def test_bad_places(small, mistake, tmp_path):
    (tmp_path / "file").write_text("x"); (tmp_path / "mine").mkdir(); (tmp_path / "mine/thesis.txt").write_text("x")
    assert "is a file" in mistake(*small, "--out", tmp_path / "file")
    assert "a parent of it is a file" in mistake(*small, "--out", tmp_path / "file/model")
    assert "thesis.txt" in mistake(*small, "--out", tmp_path / "mine")
    if Path("/proc").is_dir(): assert "cannot write /proc/model" in mistake(*small, "--out", "/proc/model")
    assert "Missing option '--out'" in mistake(*small)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_without_permission(small, mistake, tmp_path):
    (tmp_path / "shut").mkdir(mode=0o500)
    assert "permission denied" in mistake(*small, "--out", tmp_path / "shut/model")


def damage(model, name, change):
    data = (model / name).read_bytes()
    (model / name).write_bytes(change(data))


DAMAGE = {
    "truncated": lambda m: damage(m, "model.safetensors", lambda b: b[:len(b) // 2]),
    "a flipped byte": lambda m: damage(m, "model.safetensors", lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:]),
    "a pickle": lambda m: damage(m, "model.safetensors", lambda b: b"\x80\x04K\x01."),
    "a missing file": lambda m: (m / "vocabulary.json").unlink(),
    "an edited config": lambda m: damage(m, "config.json", lambda b: b.replace(b"0.002", b"0.003")),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_models(fitted, mistake, tmp_path, name):
    shutil.copytree(fitted[0] / "model", tmp_path / "model")
    DAMAGE[name](tmp_path / "model")
    said = mistake("theta", "topics", tmp_path / "model")
    at_fault = {"a missing file": "vocabulary.json", "an edited config": "config.json"}
    assert at_fault.get(name, "model.safetensors") in said


def test_bad_use_of_a_model(fitted, mistake, tmp_path):
    model, new = fitted[0] / "model", tmp_path / "in/new.csv"
    write(new, [("a", "a post about the moon", "sci.space"), ("b", "a post about cars", "rec.autos")])
    assert "'rec.autos'" in mistake("theta", "evaluate", model, new)
    np.save(tmp_path / "narrow.npy", np.ones((2, 8), np.float32))
    (tmp_path / "folder.npy").mkdir()
    transform = ("theta", "transform", model, new, "--out")
    assert "width 8 where 384" in mistake(*transform, tmp_path / "t.npy", "--embeddings", tmp_path / "narrow.npy")
    assert ".npy or .csv" in mistake(*transform, tmp_path / "t.xlsx")
    assert "is a folder" in mistake(*transform, tmp_path / "folder.npy")
    assert "at most 4" in mistake("theta", "topics", model, "--topic", "5")
    assert "no such folder" in mistake("theta", "topics", tmp_path / "nothing")


def test_seed_topics_and_names_by_a_function(tmp_path, answer, mistake, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loud_names.py").write_text("def loud(words, texts): return words[0].upper()")
    line = ("theta", "fit", "lee", "--limit", 60, "--num_topics", 6, "--epochs", 1, "--embedder", "minilm", "--out", tmp_path / "m")
    seeds = "Cricket: test wicket; Fire: bushfires firefighters; Afghanistan:"
    made = answer(*line, "--seed_topics", seeds, "--labels_by", "loud_names:loud", "--no_verbose")
    names = {row["name"] for row in made["topics"]}
    assert {"Cricket", "Fire", "Afghanistan"} < names and all(name.isupper() for name in names - {"Cricket", "Fire", "Afghanistan"})
    shown = answer("theta", "topics", tmp_path / "m", "--topic", 1, "--docs", 2)
    assert shown["name"] == "Fire" and all(len(d["text"]) > 20 for d in shown["documents_shown"])
    for more, why in ((("--seed_topics", "A:; A:"), "two topics have the same name"),
                      (("--labels_by", "loud_names:quiet"), "no such function"),
                      (("--num_topics", 2, "--seed_topics", "a; b; c"), "num_topics=2 for 3 seed topics")):
        assert why in mistake("theta", "fit", "lee", "--limit", 60, "--embedder", "minilm", "--out", tmp_path / "bad", *more)
