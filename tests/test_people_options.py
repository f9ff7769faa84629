"Options and surroundings that cannot be: one line and exit 2 each"
import os, signal, threading, time

import pytest

from test_cli import COMMANDS, needed
from textlab.cli import core
from textlab.core import TextlabError
from textlab.corpus import load_corpus
from textlab.estimator import Estimator
from textlab.tokenizer import BPETokenizer

EXTREMES = ("-1", "-0.5", "0", "2147483648", "1e11", "1" + "0"*30, "nan", "inf", "-inf", "", "x"*300, "\udcff",
        "1,2,3", "💥")


def is_estimator(call):
    module, names = core.locate(call.of)
    found = getattr(core.room(module), names[0])
    return len(names) == 1 and isinstance(found, type) and issubclass(found, Estimator)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_value_of_an_option_is_more_than_one_line(command, monkeypatch):
    "Every option of every command with values at its ends: it is taken, or refused in one line before any work begins"
    found, seen = COMMANDS[command], {}
    monkeypatch.setattr(core, "run_command", lambda f, arguments, *_: seen.update(arguments))
    options = [max(p.opts, key=len) for p in found.params if p.param_type_name == "option" and not getattr(p,
            "is_flag", False)]
    for name in options:
        for value in EXTREMES:
            seen.clear()
            try:
                found.callback(**found.make_context("x", [*needed(found), f"{name}={value}"]).params)
                for call in (v for v in seen.values() if isinstance(v, core.Call) and is_estimator(v)): call()
            except TextlabError as e: said = str(e)
            except core.ClickException as e: said = e.format_message()
            else: continue
            assert said.strip() and "Traceback" not in said, (name, value, said)


@pytest.mark.parametrize("line, said", [
    ("lm train lee --num_layers=-1 --out {out}", "num_layers=-1 must be at least 1"),
            ("lm train lee --dim 2147483648 --out {out}", "dim=2147483648 must be at most"),
    ("theta fit lee --hidden_dim 1e11 --out {out}", "hidden_dim"),
            ("theta fit lee --hidden_dim 100000000000 --out {out}", "hidden_dim=100000000000 must be at most"),
    ("corpus info /", "root of the file system"), ("corpus info {long}", "too long for a name"),
            ("corpus info {long}.csv", "too long"),
    ("theta fit lee --limit 30 --out {long}", "File name too long"), ("search query {long} x", "too long"),
            ("theta topics {long}", "too long")])
def test_one_line(line, said, mistake, tmp_path):
    assert said.lower() in mistake(*line.format(out=tmp_path / "out", long="n"*300).split()).lower()


@pytest.mark.parametrize("name, value, said", [("TEXTLAB_DEVICE", "cuda:9", "no such device"), ("TEXTLAB_DEVICE",
        "meta", "no such device"),
    ("TEXTLAB_DEVICE", "gpu", "is not a torch device"), ("WORLD_SIZE", "abc", "is no number"), ("RANK", "-1",
            "is no number"), ("LOCAL_RANK", "x", "is no number")])
def test_surroundings(name, value, said, mistake, monkeypatch, tmp_path):
    monkeypatch.setenv(name, value)
    assert said in mistake("embed", "lee", "--limit", "3", "--out", tmp_path / "v")


def test_a_long_text_is_no_name():
    for source in ("word "*100, "x"*300, "/"):
        with pytest.raises(TextlabError): load_corpus(source)


def test_few_file_descriptors(quiet):
    import resource, subprocess, sys
    few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))
    done = subprocess.run([sys.executable, "-m", "textlab", "corpus", "info", "lee", "--limit", "5"], env=quiet,
            preexec_fn=few, capture_output=True, text=True, timeout=300)
    one_line = done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert done.returncode == 0 or one_line, done.stderr[-500:]


def test_memory_that_is_not_there_is_one_line(mistake, monkeypatch, tmp_path):
    def full(*_, **__): raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
    monkeypatch.setattr("textlab.corpus.load_corpus", full)
    assert "no room for this" in mistake("corpus", "info", "lee")


@pytest.mark.parametrize("delay", [0, .002, .005, .01, .02, .03, .05, .08, .1, .15])
def test_ctrl_c_is_never_swallowed_by_the_tokenizer(delay):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)      # a background job ignores it
    try: presses(delay)
    finally: signal.signal(signal.SIGINT, before)


def presses(delay):
    "Press Ctrl-C so many seconds after training began"
    texts = [f"{w}{i} the {w} of number {i*i}" for i in range(3000) for w in ("sea", "moon", "copper")]
    with pytest.raises(KeyboardInterrupt):              # the first press may come before start() returns
        threading.Timer(delay, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        BPETokenizer.train(texts, 3000)
        for _ in range(200): time.sleep(.05)            # it was done before the key was pressed
        pytest.fail("nobody heard Ctrl-C")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
