"The command line: what every command promises, and options that say what the library says"
import functools, importlib, inspect, pkgutil, re, shlex
from pathlib import Path

import numpy as np, pytest, typer
from fastcore.docments import docments
import textlab.cli
from textlab.cli import app, core, main, run

HEAVY = "torch transformers datasets fastai sklearn pandas matplotlib plotly gensim".split()


def tree(group, words=()):
    "Every command below a group, with the words that call it; and every group, with None"
    yield words, None
    for name, found in group.commands.items():
        if hasattr(found, "commands"): yield from tree(found, (*words, name))
        else: yield (*words, name), found


PROGRAM = typer.main.get_command(app)
COMMANDS = {words: found for words, found in tree(PROGRAM) if found}
GROUPS = [words for words, found in tree(PROGRAM) if not found]
every_command = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


def needed(found, but=None):
    "The least that a command must be given, without one of its parameters"
    words = {"argument": lambda p: ["x"], "option": lambda p: [p.opts[0], "1" if p.name in ("x", "y") else "x"]}
    return [word for p in found.params if p.required and p is not but for word in words[p.param_type_name](p)]


def options(command): return [p for p in COMMANDS[command].params if p.param_type_name == "option" and p.name != "help"]


# --- help ------------------------------------------------------------------------------------------

def test_every_command_of_every_page_is_there():
    systems = {"theta", "topicgcn", "lm", "search", "codes", "maps"}
    assert {words[0] for words in COMMANDS} == systems | {"corpus", "embed", "bench", "demo"}
    assert len(COMMANDS) >= 24 and len(GROUPS) >= 9


def test_help_and_version_load_nothing_heavy(process):
    lines = [["--version"], *([*words, "--help"] for words in [*GROUPS, *COMMANDS])]
    said = process("-c", "import sys; from textlab.cli import run\n"
                         f"print([run(line) for line in {lines}], [m for m in {HEAVY} if m in sys.modules])")
    assert said.stderr == "" and said.stdout.splitlines()[-1] == f"{[0] * len(lines)} []", said.stdout[-300:]


@every_command
def test_help_teaches(say, command):
    status, out, err = say(*command, "--help")
    assert (status, err) == (0, "") and "Examples" in out and f"textlab {' '.join(command)}" in out and "--json" in out
    assert all(p.help for p in options(command))
    assert not [name for p in options(command) for name in p.opts if "-" in name.removeprefix("--")]
    assert not [p.name for p in options(command) if re.search(r"\b(None|True|False)\b|[`[]", p.help)]


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_groups_print_their_help(say, group):
    status, out, err = say(*group)
    assert (status, err) == (0, "") and f"Usage: {' '.join(('textlab', *group))}" in out


@every_command
def test_examples_can_be_parsed(command):
    "Examples are copied by readers: each option in them exists"
    for example in COMMANDS[command].epilog.split("\n\n")[1:]:
        words = shlex.split(example)[1:]
        called = next(words[:n] for n in range(len(words), 0, -1) if tuple(words[:n]) in COMMANDS)
        COMMANDS[tuple(called)].make_context("x", words[len(called):], token_normalize_func=core.read_name)


# --- options ---------------------------------------------------------------------------------------

@every_command
def test_every_option_has_both_spellings(command):
    found = COMMANDS[command]
    for p in (p for p in options(command) if p.name != "json"):
        value = [] if p.is_flag else ["3"]*p.nargs
        for option in [*p.opts, *p.secondary_opts]:
            lines = [[*needed(found, p), "--" + option[2:].replace("_", dash), *value] for dash in "_-"]
            one, two = (found.make_context("x", line, token_normalize_func=core.read_name).params for line in lines)
            given = one[p.name] if p.nargs > 1 else [one[p.name]]
            assert one == two and {*map(str, given)} <= {"3", "3.0", "True", "False"}, option


def bundles():
    "The functions and classes whose arguments are options, each with the names that commands offer"
    found = {}
    for room in pkgutil.iter_modules(textlab.cli.__path__, "textlab.cli."):
        module = importlib.import_module(room.name)
        for f in (f for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == room.name):
            for p in inspect.signature(f).parameters.values():
                note = core.noted(p)[1]
                if isinstance(note, core.Options): found.setdefault(note.of, set()).update(note.names)
    return found


OFFERED = bundles()
LEFT_OUT = {"theta.topics.TopicModel": "decoder latent prior alpha warm_start align_weight beta_decay word_features "
                                       "neighbours word_dim valid_share",
            "maps.umap.ParametricUMAP": "encoder_layers decoder_layers embedder"}  # embedder: an option of the commands
ESTIMATORS = [of for of in OFFERED if of.endswith(("TopicModel", "TopicGCN", "LanguageModel", "DocumentEncoder", "ParametricUMAP"))]


@pytest.mark.parametrize("of", OFFERED)
def test_options_are_read_from_the_source_as_python_reads_them(of):
    module, names = core.locate(of)
    f = functools.reduce(getattr, names, importlib.import_module(f"textlab.{module}"))
    real, docs = inspect.signature(f).parameters, docments(getattr(f, "__func__", f))
    assert OFFERED[of] <= real.keys()
    for name in OFFERED[of]:
        read, optional = core.declared(of)[name], "None" in str(real[name].annotation)
        assert (read.default, read.optional, read.comment) == (real[name].default, optional, docs[name]), name


@pytest.mark.parametrize("of", ESTIMATORS)
def test_every_argument_of_an_estimator_is_an_option_or_left_out_on_purpose(of):
    every = {name for name, d in core.declared(of).items() if d.default is not core.REQUIRED}
    assert every - OFFERED[of] == set(LEFT_OUT.get(of, "").split())


@every_command
def test_what_is_not_given_is_the_default_of_the_library(command, monkeypatch):
    "From the words of a command line to the call: defaults arrive as the library has them"
    found, seen = COMMANDS[command], {}
    monkeypatch.setattr(core, "run_command", lambda f, arguments, *_: seen.update(arguments))
    found.callback(**found.make_context("x", needed(found)).params)
    for call in (v for v in seen.values() if isinstance(v, core.Call)):
        defaults = {name: d.default for name, d in core.declared(call.of).items()}
        optional = {name for name in call.given if name in defaults and defaults[name] is not core.REQUIRED}
        assert {name: call.given[name] for name in optional} == {name: defaults[name] for name in optional}


OWN = [  # options that a command declares itself, and the argument whose default they repeat
    ("corpus.embed_corpus", "embedder", "embed.embed", "embedder"),
    ("theta.theta_topics", "num_words", "theta.topics.TopicModel.topic_words", "n"),
    ("theta.theta_topics", "method", "theta.topics.TopicModel.topic_words", "method"),
    ("topicgcn.topicgcn_explain", "label", "topicgcn.gcn.TopicGCN.explain", "label"),
    ("topicgcn.topicgcn_explain", "num", "topicgcn.gcn.TopicGCN.explain", "n"),
    ("topicgcn.topicgcn_graph", "title", "topicgcn.gcn.TopicGCN.graph_page", "title"),
    ("search.search_page", "seed", "lm.encoder.DocumentEncoder", "seed"),
    ("search.search_evaluate", "unknown", "corpus.check_relevant", "unknown"),
]


@pytest.mark.parametrize("command, option, of, argument", OWN)
def test_options_of_a_command_alone_repeat_the_default_of_the_library(command, option, of, argument):
    room, name = command.split(".")
    f = getattr(importlib.import_module(f"textlab.cli.{room}"), name)
    assert inspect.signature(f).parameters[option].default == core.declared(of)[argument].default


def test_lists_of_a_benchmark_are_those_of_the_library():
    from textlab.bench import classification, retrieval
    from textlab.cli.bench import bench_classification, bench_retrieval, listed
    for command, option, f in ((bench_classification, "corpora", classification.bench_classification),
                               (bench_retrieval, "sets", retrieval.bench_retrieval)):
        here, there = (inspect.signature(g).parameters[option].default for g in (command, f))
        assert listed(here) == list(there)


# --- corpora and vectors ---------------------------------------------------------------------------

def test_embed_resumes_and_serves_fit(say, answer, tmp_path):
    line = ("embed", "polarity-mini", "--limit", 20, "--out", tmp_path / "v")
    first = answer(*line, "--shard_size", 8)
    X, stamp = np.load(first["embeddings"]), Path(first["embeddings"]).stat().st_mtime_ns
    assert (first["documents"], first["dim"]) == (20, 384) and np.allclose(np.linalg.norm(X, axis=1), 1, atol=1e-5)
    assert answer(*line)["embeddings"] == first["embeddings"] and Path(first["embeddings"]).stat().st_mtime_ns == stamp
    fit = ("theta", "fit", "polarity-mini", "--limit", 20, "--num_topics", 3, "--epochs", 1)
    status, _, err = say(*fit, "--embeddings", tmp_path / "v", "--out", tmp_path / "m")
    assert status == 0, err


def test_corpus_info(answer):
    info = answer("corpus", "info", "polarity-mini")
    assert info["documents"] == 200 and sum(info["labels"].values()) == 200


# --- mistakes --------------------------------------------------------------------------------------

def test_a_mistake_in_a_process_of_its_own(process, tmp_path):
    for line, says in ((("lees",), "did you mean 'lee'"), (("lee", "--num-topcs", "3"), "--num_topics")):
        done = process("-m", "textlab", "theta", "fit", *line, "--out", tmp_path / "m")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and says in done.stderr
    assert not list(tmp_path.iterdir())


def test_bad_places(mistake, tmp_path):
    (tmp_path / "file").write_text("x")
    for command in (["embed", "lee"], ["demo"]):
        assert "a parent of it is a file" in mistake(*command, "--out", tmp_path / "file/x")


def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(core, "room", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError): run(["corpus", "info", "lee"])


def test_the_command_is_installed():
    from importlib.metadata import entry_points
    found = [e for e in entry_points(group="console_scripts") if e.name == "textlab"]
    if not found: pytest.skip("textlab is not installed here")
    assert found[0].load() is main
