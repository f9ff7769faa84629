"The rules of the house: what no page can say about itself"
import ast, json, os, re, shutil, subprocess, sys
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "textlab"
PAGES = sorted((ROOT / "nbs").glob("*.ipynb"))
EVERYWHERE = 60  # from this number on (command line, benchmarks, tutorials) a page may import all, and no system imports it


def run(*command, **options):
    "Run a command and return what it said; an exit status other than 0 fails the test with it"
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def settings():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def cells(page): return json.loads(page.read_text(encoding="utf-8"))["cells"]


def rooms():
    "Number of the notebook of each module: {'textlab.theta.model': 10}, in the order of the files"
    found = {}
    for page in PAGES:
        name = re.search(r"#\|\s*default_exp\s+([\w.]+)", "\n".join("".join(cell["source"]) for cell in cells(page)))
        if name: found[f"textlab.{name[1]}"] = int(re.match(r"\d+", page.name)[0])
    return found


def modules():
    "Syntax tree of each exported module, by dotted name"
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
            for path in sorted(PACKAGE.rglob("*.py")) if not path.name.startswith("_")}


def imports(tree, module, known):
    "The textlab modules that a module imports, each with whether it does so at the top"
    top = set(map(id, tree.body)) | {id(inner) for node in tree.body if isinstance(node, (ast.If, ast.Try)) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import): names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(module.split(".")[:-node.level]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            names = [f"{source}.{alias.name}" if f"{source}.{alias.name}" in known else source for alias in node.names]
        else: continue
        for name in names:
            if name.split(".")[0] == "textlab" and name != "textlab": yield name, id(node) in top


def tracked():
    "Files of the project as git sees them, or all but what is built where there is no git"
    done = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0: return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    built = {".venv", "_docs", "_proc", "report", "build", "dist", "__pycache__", ".git", ".pytest_cache", ".hypothesis",
             ".ipynb_checkpoints"}
    return [path for path in ROOT.rglob("*") if path.is_file() and "egg-info" not in str(path)
            and not built & set(path.relative_to(ROOT).parts)]


# --- the package and its notebooks ---------------------------------------------------------------

def test_every_module_has_a_notebook_and_an_index_entry():
    from textlab._modidx import d
    assert set(modules()) == set(rooms()), "modules without a notebook, or notebooks that were not exported"
    assert set(d["syms"]) == set(rooms()), "textlab/_modidx.py holds other modules than the notebooks export"


def broken_order(number, trees):
    "Each import that breaks the order of the rooms"
    packages = {module.rpartition(".")[0] for module in number} - {"textlab"}
    order, wrong = list(number), []
    for module, tree in trees.items():
        if number[module] >= EVERYWHERE: continue
        for name, at_top in imports(tree, module, number):
            own = number.get(name, 0) < 10 or number[name] // 10 == number[module] // 10
            if name in packages or name not in number: wrong.append(f"{module} imports {name}: name the room itself")
            elif order.index(name) >= order.index(module): wrong.append(f"{module} imports {name}, which comes later")
            elif not own: wrong.append(f"{module} imports {name}, a room of another system")
            elif not at_top: wrong.append(f"{module} imports {name} inside a function")
    return wrong


def test_rooms_import_only_what_stands_before_them():
    wrong = broken_order(rooms(), modules())
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module, line, why", [
    ("textlab.core", "from .vocab import Vocabulary", "comes later"),
    ("textlab.core", "from textlab.theta.model import THETA", "comes later"),
    ("textlab.lm.lstm", "from ..theta.model import THETA", "another system"),
    ("textlab.lm.lstm", "from textlab.theta import TopicModel", "room itself"),
    ("textlab.theta.model", "def f():\n    from ..core import log", "inside a function"),
    ("textlab.vocab", "from .cli import core", "comes later"),
])
def test_the_order_is_really_checked(module, line, why):
    number = {"textlab.core": 0, "textlab.vocab": 3, "textlab.theta.model": 10, "textlab.lm.lstm": 31, "textlab.cli.core": 60}
    assert why in "".join(broken_order(number, {module: ast.parse(line)}))
    assert broken_order(number, {"textlab.theta.model": ast.parse("from ..core import log\nfrom textlab.vocab import Vocabulary")}) == []


def test_sub_packages_only_re_export():
    "Their own public names, and those of foundations that users look for there"
    foundations = {name for name, number in rooms().items() if number < 10}
    for init in PACKAGE.glob("*/__init__.py"):
        for node in ast.parse(init.read_text(encoding="utf-8")).body:
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            names = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
            source = node.module or "" if isinstance(node, ast.ImportFrom) else None
            own = source is not None and (node.level == 1 or source.startswith(f"textlab.{init.parent.name}"))
            assert docstring or names or own or source in foundations, f"{init.relative_to(ROOT)}:{node.lineno} does more than re-export"


# --- how the code reads ----------------------------------------------------------------------------

LONGEST = 140  # characters in a line of code; 120 is the habit


def code_lines():
    "Each line of code that a person wrote: place and text"
    for page in PAGES:
        for cell in cells(page):
            if cell["cell_type"] != "code": continue
            for line in "".join(cell["source"]).splitlines():
                if not line.startswith("#| fig-"): yield f"{page.name}, cell {cell['id']}", line  # a caption is prose
    for path in [*ROOT.glob("tests/*.py"), *ROOT.glob("scripts/*.py"), *PACKAGE.glob("*/__init__.py"), ROOT / "setup.py"]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{path.relative_to(ROOT)}:{number}", line


def test_lines_of_code_can_be_read():
    lines = list(code_lines())
    wrong = [f"{place}: {len(line)} characters: {line.strip()[:80]}" for place, line in lines if len(line) > LONGEST]
    assert not wrong, "\n".join(wrong)
    assert sum(len(line) > 120 for _, line in lines) < len(lines) / 100, "120 characters are the habit"


# What every system needs is written once: this name is defined in this room and in no other.
WRITTEN_ONCE = {
    "textlab.vectors": "unit_rows nearest top_rows rank_rows ranks zscore",
    "textlab.vocab": "bm25_rows bm25_idf terms tokenize",
    "textlab.layers": "SelfAttention Block sinusoids InfoNCE info_nce count_parameters fit_temperature",
    "textlab.estimator": "Estimator hold_out",
    "textlab.embed": "Embedder load_embedder embed",
    "textlab.train": "TensorDataLoader Checkpoint History train",
    "textlab.web": "Chapter esc document asset",
    "textlab.bench.core": "read_results add_result run_all",
}
# … and this call is made in no other: the one way to do it is the function beside it.
CALLED_ONCE = {
    "argpartition": ("textlab.vectors", "nearest, rank_rows or smallest"),
    "scaled_dot_product_attention": ("textlab.layers", "attend"),
}


def told_twice(trees):
    "Definitions and calls that stand outside of the one room they belong to"
    home = {name: module for module, names in WRITTEN_ONCE.items() for name in names.split()}
    for module, tree in trees.items():
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.decorator_list:
                if home.get(node.name, module) != module: yield f"{module}:{node.lineno} defines {node.name}: use {home[node.name]}'s"
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or node.attr not in CALLED_ONCE: continue
            room, way = CALLED_ONCE[node.attr]
            if module != room: yield f"{module}:{node.lineno} calls {node.attr}: use {room}'s {way}"


def test_what_systems_share_is_written_once():
    trees = modules()
    wrong = list(told_twice(trees))
    assert not wrong, "\n".join(wrong)
    for module, names in WRITTEN_ONCE.items():
        there = {node.name for node in ast.walk(trees[module]) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        assert set(names.split()) <= there, f"{module} has no {set(names.split()) - there}"
    bad = {"textlab.theta.topics": ast.parse("def unit_rows(X): return X\nnp.argpartition(x, 3)")}
    assert len(list(told_twice(bad))) == 2


def test_no_system_holds_a_benchmark():
    def named(tree):
        return [node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))
                and re.search(r"(^|_)bench(mark)?(_|$)", node.name.lower())]
    wrong = [f"{module} defines {name}" for module, tree in modules().items() if rooms()[module] < EVERYWHERE
             for name in named(tree)]
    assert not wrong, "\n".join(wrong)
    assert named(ast.parse("def bench_words(): pass"))


def unsafe(tree):
    "Lines of a module that would run what a file says, or hide an error"
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None: yield node.lineno, "a bare except"
        if not isinstance(node, ast.Call): continue
        name, given = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name == "torch.load" and given.get("weights_only") != "True": yield node.lineno, "torch.load without weights_only"
        if re.fullmatch(r"(c?pickle|dill|joblib|cloudpickle)\.loads?", name, re.I): yield node.lineno, name
        for word in ("allow_pickle", "trust_remote_code"):
            if given.get(word, "False") != "False": yield node.lineno, word


def test_no_module_runs_what_it_reads():
    wrong = [f"{module}:{line}: {what}" for module, tree in modules().items() for line, what in unsafe(tree)]
    assert not wrong, "\n".join(wrong)
    bad = "torch.load(f)\npickle.load(f)\nnp.load(f, allow_pickle=True)\ntry: pass\nexcept: pass"
    assert [line for line, _ in sorted(unsafe(ast.parse(bad)))] == [1, 2, 3, 5]


def undeclared(trees, declared):
    "Each import of an installed package that settings.ini does not name"
    owners = packages_distributions()
    for module, tree in trees.items():
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import): names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level: names = [node.module]
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"textlab"}:
                packages = {canonicalize_name(owner) for owner in owners.get(top, [top])}
                if not packages & declared: yield f"{module}:{node.lineno} imports {top}"


def test_what_is_imported_is_asked_for():
    asked = " ".join(value for name, value in settings().items() if re.fullmatch(r"(?!dev_)(\w+_)?requirements", name))
    declared = {canonicalize_name(Requirement(line).name) for line in asked.split()}
    wrong = list(undeclared(modules(), declared))
    assert not wrong, "\n".join(wrong)
    bad = {"textlab.core": ast.parse("import os, yaml\nfrom sklearn.cluster import KMeans")}
    assert list(undeclared(bad, declared)) == ["textlab.core:1 imports yaml"]


# --- scripts and styles of pages -----------------------------------------------------------------

ASSETS = sorted(path for path in (PACKAGE / "assets").rglob("*") if path.is_file())
SCRIPTS = [path for path in ASSETS if path.suffix == ".js"]


def scripts():
    "The modules of scripts/, which is no package"
    if str(ROOT / "scripts") not in sys.path: sys.path.insert(0, str(ROOT / "scripts"))
    import check_export, export_assets
    return check_export, export_assets


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_scripts_of_pages_are_javascript(path):
    if shutil.which("node") is None: pytest.skip("no node on the PATH")
    run("node", "--check", path)


def test_lines_of_assets_can_be_read():
    long = [f"{path.relative_to(ROOT)}:{number}: {len(line)}" for path in ASSETS
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > 120]
    assert not long, "\n".join(long)


def markdown_page(folder, name, *cells):
    "A notebook of markdown cells alone"
    cells = [{"cell_type": "markdown", "id": f"c{i}", "metadata": {}, "source": cell} for i, cell in enumerate(cells)]
    page = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
    (folder / "nbs").mkdir(exist_ok=True)
    (folder / "nbs" / name).write_text(json.dumps(page), encoding="utf-8")


def block(name, text, language="js"):
    return f'Words.\n\n```{language} {{filename="textlab/assets/{name}"}}\n{text}\n```\n\nMore words.'


def test_assets_are_the_blocks_of_one_page_in_order(tmp_path):
    _, export_assets = scripts()
    markdown_page(tmp_path, "10_a.ipynb", block("a/b.js", "let x = 1"), "```js\nnot exported\n```",
                  block("a/b.js", "let y = `2`"), block("c.css", "i {}", "css"))
    assert sorted(export_assets.write_assets(tmp_path)) == ["a/b.js", "c.css"]
    first, *rest = (tmp_path / "textlab/assets/a/b.js").read_text().splitlines()
    assert "10_a.ipynb" in first and [line for line in rest if line] == ["let x = 1", "let y = `2`"]
    assert export_assets.write_assets(tmp_path) == []


@pytest.mark.parametrize("cell, why", [
    (block("c.css", "i {}"), "must end in .js"),
    (block("c.py", "x = 1", "py"), "assets are js, css, html"),
    (block("../c.js", "x"), "not below textlab/assets"),
    ('```js {file="textlab/assets/c.js"}\nx\n```', "cannot read"),
    (block("c.js", "x").replace("\n```\n", "\n"), "not closed"),
], ids=["wrong ending", "wrong language", "outside", "wrong attribute", "open"])
def test_a_block_that_cannot_be_an_asset_is_named(tmp_path, cell, why):
    markdown_page(tmp_path, "10_a.ipynb", cell)
    with pytest.raises(SystemExit, match=why): scripts()[1].assets(tmp_path)


def test_an_asset_has_one_owner(tmp_path):
    for name in ("10_a.ipynb", "20_b.ipynb"): markdown_page(tmp_path, name, block("c.js", "x"))
    with pytest.raises(SystemExit, match="c.js is written by 10_a.ipynb and by 20_b.ipynb"): scripts()[1].assets(tmp_path)


def test_the_check_of_the_export_sees_assets(tmp_path):
    check_export, _ = scripts()
    for path in [*PAGES, *PACKAGE.rglob("*.py"), *ASSETS, ROOT / "settings.ini", ROOT / "setup.py"]:
        (tmp_path / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    changed, gone, orphan = (tmp_path / "textlab/assets" / name for name in ("colors.css", "report.css", "orphan.js"))
    gone.unlink()
    changed.write_text(changed.read_text().replace("--ink", "--pen"))
    orphan.write_text("let x")
    found = "\n".join(check_export.differences(tmp_path))
    assert "assets/colors.css: differs from its notebook" in found and "--pen" in found
    assert "assets/orphan.js: no notebook makes it" in found and "assets/report.css: not exported yet" in found


# --- light imports -------------------------------------------------------------------------------

HEAVY = ["torch", "tensorflow", "transformers", "sklearn", "pandas", "datasets", "gensim", "sentence_transformers",
         "fastai", "matplotlib", "umap"]


HELP = """
sys.argv = ['textlab', '--help']
from textlab.cli import main
try: main()
except SystemExit as done: assert not done.code, done.code
"""


@pytest.mark.parametrize("code", ["import textlab", "import textlab.core", HELP],
                         ids=["import textlab", "import textlab.core", "textlab --help"])
def test_the_door_is_light(code):
    said = run(sys.executable, "-c", f"import sys\n{code}\nprint('loaded:', *[name for name in {HEAVY} if name in sys.modules])")
    assert said.splitlines()[-1] == "loaded:", said.splitlines()[-1]


# --- what is built from it -----------------------------------------------------------------------

def test_the_wheel_installs_in_a_bare_environment(tmp_path):
    source, bare = tmp_path / "source", tmp_path / "bare"
    for path in tracked():
        if path.is_relative_to(PACKAGE) or path.parent == ROOT:
            (source / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            (source / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", tmp_path, source)
    [wheel] = tmp_path.glob("textlab-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", bare)
    python = bare / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel)
    ask = """
import textlab
from importlib.metadata import entry_points, files, version
print(textlab.__version__, version('textlab'), *[p.value for p in entry_points(group='console_scripts', name='textlab')])
print(*files('textlab'))"""
    said, files = run(python, "-I", "-c", ask, cwd=tmp_path).splitlines()
    version = settings()["version"]
    assert said.split() == [version, version, settings()["console_scripts"].split("=")[1]]
    shipped = {name for name in files.split() if name.startswith("textlab/") and "__pycache__" not in name}
    assert shipped == {path.relative_to(source).as_posix() for path in (source / "textlab").rglob("*") if path.is_file()}
    assert any(name.startswith("textlab/assets/") for name in shipped)
    assert any(name.endswith("LICENSE") for name in files.split())


def test_the_lock_holds_all_that_is_asked_for():
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")]
    locked = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(locked) == len(lines)
    assert not {"torchvision", "spacy"} & set(locked)
    for line in (settings()["requirements"] + " " + settings()["dev_requirements"]).split():
        need = Requirement(line)
        assert canonicalize_name(need.name) in locked, f"{need} is not locked: make lock"
        version = locked[canonicalize_name(need.name)]
        assert need.specifier.contains(version, prereleases=True), f"{need} against {version}"


# --- documents -----------------------------------------------------------------------------------

def test_readme_is_the_index(): run(sys.executable, ROOT / "scripts/make_readme.py", "--check")


def test_documents_are_in_order(): run(sys.executable, ROOT / "scripts/check_docs.py")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_small_and_whole(page):
    assert page.stat().st_size < 1_000_000, "a notebook stays below 1 MB: smaller pictures, fewer rows"
    outputs = [output for cell in cells(page) for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"], "a committed traceback"
    sources = [(cell, "".join(cell["source"])) for cell in cells(page) if cell["cell_type"] == "code"]
    stated = [cell for cell, source in sources if re.search(r"^\s*(print\(|display\()", source, re.M)
              and not re.search(r"^#\|\s*(eval: false|export)", source, re.M)]
    assert not stated or any(cell["outputs"] for cell in stated), "this page was not executed: make notebooks"


# Places of one machine and unfinished work; spelt in parts, so that this file does not hold them.
PLACES = ["home/[a-z]", "Users/[a-z]", "ro" "ot", "wo" "rk", "mnt", "media", "private", "tm" "p/[a-z]", "opt/[a-z]"]
PLACE = re.compile(r"(?<![\w./:])/(?:" + "|".join(PLACES) + r")[\w./-]*/")
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" "DO", "FIX" "ME", "X" "XX", "HA" "CK"]) + r")\b")


def text_of(path):
    "What a person can read of a file; of a page without its pictures"
    text = path.read_text(encoding="utf-8")
    return re.sub(r'"image/\w+": "[^"]*"', "", text) if path.suffix == ".ipynb" else text


def test_no_file_names_a_place_on_one_machine_or_is_unfinished():
    wrong = []
    for path in tracked():
        if path.suffix in {".png", ".jpg", ".gz", ".npy", ".safetensors"}: continue
        for number, line in enumerate(text_of(path).splitlines(), 1):
            for pattern in (PLACE, UNFINISHED):
                if found := pattern.search(line): wrong.append(f"{path.relative_to(ROOT)}:{number}: {found[0]}")
    assert not wrong, "\n".join(wrong)
    assert PLACE.search("saved to /" + "home/me/x") and not PLACE.search("https://a.org/home/me/x")
    assert UNFINISHED.search("# TO" + "DO: later")


def test_annotations_resolve_as_the_site_resolves_them():
    "nbdev evaluates annotations written as strings; a name that is imported for type checkers alone breaks the page"
    import importlib, inspect, pkgutil, types
    import textlab
    bad = []
    for found in pkgutil.walk_packages(textlab.__path__, "textlab."):
        if found.name.endswith("_modidx"): continue
        module = importlib.import_module(found.name)
        for owner in (getattr(module, name) for name in getattr(module, "__all__", [])):
            members = vars(owner).values() if inspect.isclass(owner) else [owner]
            for f in members:
                if not isinstance(f, types.FunctionType) or f.__module__ != found.name: continue
                try: inspect.signature(f, eval_str=True)
                except NameError as e: bad.append(f"{found.name}.{f.__qualname__}: {e}")
    assert not bad
