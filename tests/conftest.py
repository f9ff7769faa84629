"""What the tests share: the same examples on every run, and the command line, in this process and in one of its own"""
import json, os, re, shutil, subprocess, sys

import pytest
from hypothesis import settings

from textlab.cli import run
from textlab.cli.core import GO_ON

settings.register_profile("textlab", derandomize=True, deadline=None)
settings.load_profile("textlab")

QUIET = dict(TEXTLAB_PROGRESS="0", COLUMNS="120", HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", TEXTLAB_DEVICE="cpu")
PYTHON = re.compile(r"\w=(True|False|…)|\w\[\d+\]")   # hybrid=True, queries[0]: nothing that a command line has


# scikit-learn's checks of an estimator that do not fit texts, and why
NO_FEATURES = "texts have no fixed number of features, so fit remembers none and predict refuses none"
NOT_FOR_TEXTS = {
    "check_do_not_raise_errors_in_init_or_set_params": "options are checked on construction, by the design of this library",
    "check_n_features_in": NO_FEATURES,
    "check_n_features_in_after_fitting": NO_FEATURES,
    "check_classifiers_train": NO_FEATURES,
}

# --- a real browser, where there is one --------------------------------------------------------

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next((found for name in BROWSERS if (found := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
         "--virtual-time-budget=5000", "--dump-dom"]


def browse(page, tmp_path, address=""):
    "The document as a browser leaves it"
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'browser'}", f"{path.as_uri()}{address}"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, env=environment).stdout


@pytest.fixture(scope="session")
def quiet():
    "The environment of a process that shows no progress and asks no hub"
    return os.environ | QUIET


@pytest.fixture(scope="session")
def process(quiet):
    "Python in a process of its own: what it says and its exit status"
    options = dict(capture_output=True, text=True, env=quiet, timeout=300)
    return lambda *argv: subprocess.run([sys.executable, *map(str, argv)], **options)


@pytest.fixture
def say(capfd, monkeypatch):
    "The command line in this process: status, stdout, stderr"
    for name, value in QUIET.items(): monkeypatch.setenv(name, value)
    def call(*argv):
        capfd.readouterr()
        status = run([str(a) for a in argv])
        return status, *capfd.readouterr()
    return call


@pytest.fixture
def kept(tmp_path):
    "Folders that a mistake must leave as they are; a module with more of them says so"
    return [tmp_path]


@pytest.fixture
def mistake(say, kept):
    "Run a command line that must fail and leave nothing; return its one line"
    def call(*argv):
        before = [sorted(folder.rglob("*")) for folder in kept]
        status, out, err = say(*argv)
        lines = [line for line in err.splitlines() if line.startswith("textlab: error: ")]
        assert (status, out, len(lines)) == (2, "", 1) and err.splitlines()[-1] == lines[0], err
        assert all(line.startswith(("textlab: ", "note: ", "embedding", "resuming")) for line in err.splitlines()), err
        assert not PYTHON.search(lines[0]), f"speaks of Python's arguments: {lines[0]}"
        assert [sorted(folder.rglob("*")) for folder in kept] == before
        return lines[0]
    return call


@pytest.fixture
def answer(say):
    "The JSON of a command that must succeed"
    def ask(*argv):
        status, out, err = say(*argv, "--json")
        assert status == 0 and out.count("\n") == 1, err
        return json.loads(out, parse_constant=lambda c: pytest.fail(f"{c} in the JSON"))
    return ask


@pytest.fixture
def goes_on(say, tmp_path, monkeypatch):
    "Train a model at one go, and again with an interruption after an epoch: the same model, and nothing else is left"
    from safetensors.numpy import load_file
    from textlab.train import Checkpoint
    after, whole, cut = Checkpoint.after_epoch, tmp_path / "whole", tmp_path / "cut"

    def interrupted(epoch):
        def stop(self):
            after(self)
            if self.epoch == epoch: raise KeyboardInterrupt
        return stop

    def check(epoch, *argv):
        assert say(*argv, "--out", whole)[0] == 0
        others = set(tmp_path.iterdir())
        with monkeypatch.context() as m:
            m.setattr(Checkpoint, "after_epoch", interrupted(epoch))
            status, out, err = say(*argv, "--out", cut)
        assert (status, out) == (130, "")
        assert err.splitlines()[-1] == f"textlab: interrupted; {GO_ON}"
        [partial] = set(tmp_path.iterdir()) - others
        left = {p.name for p in partial.iterdir()}
        status, out, err = say(*argv, "--out", cut)
        assert status == 0 and "resuming" in err and set(tmp_path.iterdir()) - others == {cut}
        one, two = (load_file(folder / "model.safetensors") for folder in (whole, cut))
        assert one.keys() == two.keys() and all((one[k] == two[k]).all() for k in one)
        assert partial.name == "cut.partial"
        return left
    return check
