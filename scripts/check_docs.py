"What can be wrong with the site and be seen without rendering it: sidebar, links, images, equations, citations"
import argparse, ast, json, re, shutil, subprocess, sys, tempfile
from configparser import ConfigParser
from pathlib import Path

import nbformat, yaml

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^ {0,3}(```+|~~~+).*?^ {0,3}\1[^\n]*$", re.M | re.S)
SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.S)
TARGET = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^)]*)?\)|<(?:a|img)\b[^>]*?(?:href|src)=[\"']([^\"']+)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.M)
CITATION = re.compile(r"(?<![\w.@/])@([A-Za-z][\w:.+-]*\w)")
CROSS = ("fig-", "tbl-", "eq-", "sec-", "thm-", "lst-")


def sidebar(contents: list | dict | str) -> list[str]:
    "Every page that a sidebar of _quarto.yml names, in order"
    if isinstance(contents, str): return [contents]
    if isinstance(contents, list): return [page for entry in contents for page in sidebar(entry)]
    return [contents[key] for key in ("href", "file") if key in contents] + sidebar(contents.get("contents", []))


def anchor(heading: str) -> str:
    "The identifier that pandoc gives a heading"
    own = re.search(r"\{#([\w:.-]+)[^}]*\}", heading)
    if own: return own[1]
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower().replace("`", "").replace("*", "").replace("$", "")
    return re.sub(r"^[^a-z]+", "", re.sub(r"\s+", "-", re.sub(r"[^\w\s.-]", "", text).strip()))


def prose(text: str) -> str:
    "Markdown without its code"
    return SPAN.sub(" ", FENCE.sub(" ", text))


def equations(text: str) -> list[str]:
    "What is wrong with the dollars, braces and environments of one markdown cell"
    text, wrong = prose(text).replace(r"\\", "  ").replace(r"\$", "  "), []
    if text.count("$$") % 2: return ["a $$ is not closed"]
    shown = text.split("$$")
    inline = [part for block in shown[::2] for paragraph in re.split(r"\n\s*\n", block) for part in [paragraph]]
    for paragraph in inline:
        if paragraph.count("$") % 2: wrong.append(f"a $ is not closed in: {paragraph.strip()[:60]!r}")
    for equation in shown[1::2] + [part for paragraph in inline if paragraph.count("$") % 2 == 0 for part in paragraph.split("$")[1::2]]:
        bare = equation.replace(r"\{", "").replace(r"\}", "")
        begun, ended = re.findall(r"\\begin\{(\w+\*?)\}", bare), re.findall(r"\\end\{(\w+\*?)\}", bare)
        if bare.count("{") != bare.count("}"): wrong.append(f"braces do not match in: {equation.strip()[:60]!r}")
        if sorted(begun) != sorted(ended): wrong.append(f"\\begin and \\end do not match in: {equation.strip()[:60]!r}")
        if len(re.findall(r"\\left\b", bare)) != len(re.findall(r"\\right\b", bare)):
            wrong.append(f"\\left and \\right do not match in: {equation.strip()[:60]!r}")
    return wrong


class Document:
    "A page or a markdown file: its cells, anchors and folder"
    def __init__(self, path: Path):
        self.path, self.name = path, str(path.relative_to(ROOT))
        if path.suffix == ".ipynb":
            page = nbformat.read(path, as_version=4)
            self.cells = [cell.source for cell in page.cells if cell.cell_type == "markdown"]
        else: self.cells = [path.read_text(encoding="utf-8")]
        self.text = "\n\n".join(self.cells)
        headings = HEADING.findall(FENCE.sub(" ", self.text))
        self.anchors = {anchor(heading) for heading in headings} | set(re.findall(r"\{#([\w:.-]+)", self.text))


def links(document: Document, pages: dict[Path, Document]) -> list[str]:
    "Links and images of a document that lead nowhere"
    wrong = []
    for target in (a or b for a, b in TARGET.findall(prose(document.text))):
        if re.match(r"[a-z]+:|//", target): continue
        place, _, part = target.partition("#")
        path = (document.path.parent / place).resolve() if place else document.path
        if path.suffix == ".html" and not path.exists(): path = path.with_suffix(".ipynb")
        if not path.exists(): wrong.append(f"link to {target}: there is no such file")
        elif part and path in pages and part not in pages[path].anchors and not re.search(r"[A-Z_.]", part):
            # anchors with such letters are made for documented names
            wrong.append(f"link to {target}: no such heading")
    return wrong


def citations(document: Document, known: set[str]) -> list[str]:
    "Cited works that references.bib does not have, and cross-references to labels that the page does not have"
    text = re.sub(r"https?://\S+", " ", prose(document.text))
    keys = {key for key in CITATION.findall(re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$", " ", text, flags=re.S))}
    return [f"cites @{key}: not in references.bib" for key in sorted(keys - known) if not key.startswith(CROSS)] + \
           [f"refers to @{key}: no such label on this page" for key in sorted(keys)
            if key.startswith(CROSS) and key not in document.anchors]


SPARED = re.compile(r"^#\|\s*(export|exports|exporti|exec_doc)\b|^#\|\s*eval:\s*false", re.M) # cells nbdev leaves alone


def mixed(page: Path) -> list[str]:
    "Cells of an exporting page that import and do more: nbdev runs them alone, without the page, when it builds the site"
    sources, wrong = [(cell.cell_type, cell.source) for cell in nbformat.read(page, as_version=4).cells], []
    if not any(re.search(r"^#\|\s*default_exp\b", source, re.M) for _, source in sources): return wrong
    for number, (kind, source) in enumerate(sources):
        if kind != "code" or "nbdev_export(" in source or SPARED.search(source): continue
        try: nodes = list(ast.walk(ast.parse(source)))
        except SyntaxError: continue  # a magic: nbdev does not read it either
        found = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
        if found and any(isinstance(node, (ast.Expr, ast.Assign)) for node in nodes):
            wrong.append(f"cell {number} imports and does more ({ast.unparse(found[0])}): move the import to the page's cell of imports")
    return wrong


NESTED = re.compile(r"(?<!!)\[[^\[\]]*(?<!!)\[[^\[\]]+\]\([^)]*\)[^\[\]]*\]\(")
FOLD = re.compile(r"^#\|\s*code-fold", re.M)
TITLE = re.compile(r"# \S[^\n]*\n\n> \S[^\n]*")  # a title and one sentence on one line
RAW = {  # what a reader of the site should not see
    "a raw link in code": re.compile(r"\[`[^`\n]+`\]\((https?:|\w+\.html)"),
    "a docstring that was inherited": re.compile(r"Call self as a function|Return repr\(self\)|Return (a|the) str(ing)? representation|"
                                                 r"Initialize self\.|See help\(type\(self\)\)"),
    "a directive of a library's own documentation": re.compile(r"^\s*\.\. (note|math|code-block|warning)::", re.M),
    "the name of a module that ran the page": re.compile(r"\b__main__\.\w"),
    "an object without a name": re.compile(r"<(\w+\.)*object object at 0x"),
    "a call of show_doc": re.compile(r"^show_doc\(", re.M),
}


def said(cell: dict) -> str:
    "What a prepared cell shows as code or text: not prose, which may name such things"
    outputs = "".join("".join(output.get("text", "")) + "".join("".join(output.get("data", {}).get(kind, ""))
                      for kind in ("text/plain", "text/markdown")) for output in cell.get("outputs", []))
    blocks = "\n".join(found[0] for found in FENCE.finditer(cell["source"])) if cell["cell_type"] == "markdown" else cell["source"]
    return blocks + "\n" + outputs


def pictures(cell: dict) -> int:
    "How many pictures a cell has drawn"
    return sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in cell.get("outputs", []))


def unreadable(source: str) -> str:
    "What is wrong with the options of a cell (`#| fig-alt: …`), which quarto reads as YAML and stops at; or ''"
    options = "\n".join(line.removeprefix("#|").strip() for line in source.splitlines() if re.match(r"#\|\s*[\w-]+:\s", line))
    try: yaml.safe_load(options)
    except yaml.YAMLError as error: return " ".join(str(error).split())[:120]
    return ""


def cells_of(page: Path) -> list[dict]:
    "The cells of a notebook, prepared or not, each source as one text"
    found = json.loads(page.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in found]


def faults(source: list[dict], cells: list[dict]) -> list[str]:
    "What the prepared copy of a page does not say as the page does, one line each"
    wrong, title = [], next((cell["source"] for cell in source if cell["cell_type"] == "markdown"), "")
    if not TITLE.fullmatch(title.strip()):
        wrong.append("the first cell holds more than `# Title` and one `> sentence`: nbdev drops the rest")
    shown = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code" and not FOLD.search(cell["source"]))
    explained = [cell["source"] for cell in source if re.match(r"#\|\s*exports\b", cell["source"])]
    for code in explained:
        body = re.sub(r"^#\|.*\n", "", code, flags=re.M).strip()
        if shown.count(body) != 1: wrong.append(f"explained code is shown {shown.count(body)} times: {body.splitlines()[0][:60]}")
    for before, cell in zip(source, source[1:]):
        behind = before["cell_type"] == "markdown" and "$$" in prose(before["source"])
        if behind and re.match(r"#\|\s*export\n(?!from |import )", cell["source"]):
            wrong.append(f"code behind an equation is not shown, mark it `exports`: {cell['source'].splitlines()[1][:60]}")
    for number, cell in enumerate(cells):
        seen = {what: pattern.search(said(cell)) for what, pattern in RAW.items()}
        wrong += [f"cell {number} shows {what}: {found[0].strip()!r}" for what, found in seen.items() if found]
        if cell["cell_type"] == "markdown" and (found := NESTED.search(prose(cell["source"]))):
            wrong.append(f"cell {number} has a link inside a link: {found[0]!r}")
        if any("text/html" in output.get("data", {}) for output in cell.get("outputs", [])):
            wrong.append(f"cell {number} has an output in HTML: quarto loads jQuery and RequireJS for it")
        if pictures(cell) and not all(f"#| {key}:" in cell["source"] for key in ("fig-cap", "fig-alt")):
            wrong.append(f"cell {number} draws a picture without `#| fig-cap:` and `#| fig-alt:`")
        if found := unreadable(cell["source"]): wrong.append(f"cell {number}: quarto cannot read its options, quote them: {found}")
    return wrong


PREPARE = "from nbdev.serve import proc_nbs\nif __name__ == '__main__': proc_nbs(n_workers=0)"


def copied(copy: Path) -> Path:
    "What the site is made of, in a new folder `copy`"
    copy.mkdir()
    for name in ("settings.ini", "_quarto.yml"): shutil.copy(ROOT / name, copy)
    unneeded = shutil.ignore_patterns(".*", "__pycache__")
    for name in ("nbs", "textlab"): shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=unneeded)
    return copy


def process() -> None:
    "Prepare every page, in a copy, as nbdev does before quarto renders it; exits where nbdev would stop or a page says less"
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder) / "textlab-docs")
        done = subprocess.run([sys.executable, "-c", PREPARE], cwd=copy, capture_output=True, text=True)
        if done.returncode: sys.exit(f"nbdev could not prepare the pages for the site:\n{done.stderr}")
        wrong = [f"{page.name}: {what}" for page in sorted((copy / "_proc").glob("*.ipynb"))
                 for what in faults(cells_of(copy / "nbs" / page.name), cells_of(page))]
    for line in wrong: print(line, file=sys.stderr)
    if wrong: sys.exit(f"{len(wrong)} faults in the pages that nbdev prepared for the site")
    print("nbdev prepares every page for the site, and each says what its notebook says")


def generated() -> list[str]:
    "Is nbs/nbdev.yml what nbdev makes of settings.ini?"
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    cfg, found = config["DEFAULT"], yaml.safe_load((ROOT / "nbs/nbdev.yml").read_text(encoding="utf-8"))
    wanted = {"title": cfg["title"], "site-url": cfg["doc_host"] + cfg["doc_baseurl"], "repo-url": cfg["git_url"],
              "description": cfg["description"], "repo-branch": cfg["branch"]}
    there = found["website"]
    return [f"nbs/nbdev.yml: {key} is {there.get(key)!r}, settings.ini says {value!r}"
            for key, value in wanted.items() if there.get(key) != value]


def problems() -> list[str]:
    "Everything wrong, one line each"
    wrong = generated()
    quarto = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))
    if (ROOT / "nbs/_quarto.yml").resolve() != ROOT / "_quarto.yml": wrong.append("nbs/_quarto.yml is not a link to ../_quarto.yml")
    listed, paths = sidebar(quarto["website"]["sidebar"]["contents"]), sorted((ROOT / "nbs").glob("[!_.]*.ipynb"))
    there = {path.name for path in paths}
    wrong += [f"_quarto.yml: the sidebar names {name}, which does not exist" for name in listed if name not in there]
    wrong += [f"_quarto.yml: the sidebar does not name {name}" for name in sorted(there - set(listed))]
    wrong += [f"_quarto.yml: the sidebar names {name} twice" for name in sorted({name for name in listed if listed.count(name) > 1})]
    bib = (ROOT / "nbs/references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{([^,\s]+),", bib, re.M)
    wrong += [f"references.bib: {key} stands there twice" for key in sorted({key for key in keys if keys.count(key) > 1})]
    if bib.count("{") != bib.count("}"): wrong.append("references.bib: braces do not match")
    cited = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    wrong += [f"references.bib: nobody cites {key}" for key in keys if not re.search(rf"@{key}\b", cited)]
    documents = {path: Document(path) for path in paths + [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]}
    for path, document in documents.items():
        found = links(document, documents)
        if path.suffix == ".ipynb":
            found += [what for cell in document.cells for what in equations(cell)] + citations(document, set(keys)) + mixed(path)
            if not document.cells or not re.search(r"^# \S", document.cells[0], re.M):
                found.append("the first markdown cell has no `# Title`")
        wrong += [f"{document.name}: {what}" for what in found]
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--process", action="store_true", help="also prepare the pages as nbdev does before quarto renders them")
    options, wrong = parser.parse_args(), problems()
    for line in wrong: print(line, file=sys.stderr)
    if wrong: sys.exit(f"{len(wrong)} problems in the documents")
    print("Sidebar, links, images, equations and citations are in order")
    if options.process: process()
