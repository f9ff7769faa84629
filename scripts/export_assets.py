"""Write textlab/assets/ from the notebooks. A fenced block of a markdown cell that begins with

    ```js {filename="textlab/assets/search/hit.js"}

is a piece of that file; pieces of one file are joined in the order of the page.
`make export` calls this after nbdev_export."""
import re, sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r'(?P<ticks>`{3,})(?P<language>\w+) \{filename="textlab/assets/(?P<name>[\w./-]+)"\}')
NOTE = {"js": "// {}", "css": "/* {} */", "html": "<!-- {} -->"}  # how each language writes a comment


def pieces(markdown: str, where: str) -> list[tuple[str, str]]:
    "Name and text of each piece in a markdown cell, in order; exits where a block is not closed or not understood"
    found, lines = [], iter(markdown.splitlines())
    for line in lines:
        if not line.startswith("```"): continue
        begun, ticks, text = FENCE.fullmatch(line), re.match("`+", line)[0], []
        for inner in lines:
            if inner == ticks: break
            text.append(inner)
        else: sys.exit(f"{where}: this block is not closed: {line}")
        if begun is None and "textlab/assets" in line:
            sys.exit(f"{where}: cannot read {line!r}; write ```js {{filename=\"textlab/assets/folder/name.js\"}}")
        if begun: found.append((named(begun, where), "\n".join(text)))
    return found


def named(begun: re.Match, where: str) -> str:
    "The name of a piece's file, once it agrees with the language and stays in the folder"
    language, name = begun["language"], begun["name"]
    if language not in NOTE: sys.exit(f"{where}: {name} is a block of {language!r}; assets are {', '.join(NOTE)}")
    if not name.endswith(f".{language}"):
        sys.exit(f"{where}: {name} is a block of {language!r}; its name must end in .{language}")
    if ".." in name or name.startswith("/"): sys.exit(f"{where}: {name} is not below textlab/assets")
    return name


def note(name: str, page: str) -> str:
    "The first line of an asset: a comment that says where to change it"
    return NOTE[name.rpartition(".")[2]].format(f"Made from nbs/{page}; edit that page, not this file.")


def assets(root: Path = ROOT) -> dict[str, str]:
    "Text of each asset by its name below textlab/assets, with a first line that says which notebook to edit"
    owner, parts = {}, {}
    for page in sorted(root.glob("nbs/*.ipynb")):
        prose = [cell.source for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "markdown"]
        for name, text in [piece for cell in prose for piece in pieces(cell, page.name)]:
            if owner.setdefault(name, page.name) != page.name:
                sys.exit(f"{name} is written by {owner[name]} and by {page.name}")
            parts.setdefault(name, []).append(text.strip("\n"))
    head = {name: note(name, page) for name, page in owner.items()}
    return {name: "\n\n".join([head[name], *texts]) + "\n" for name, texts in parts.items()}


def write_assets(root: Path = ROOT) -> list[str]:
    "Write the assets of `root`'s notebooks that are not there yet or differ; returns their names"
    changed = []
    for name, text in assets(root).items():
        path = root / "textlab/assets" / name
        if path.is_file() and path.read_text(encoding="utf-8") == text: continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        changed.append(name)
    return changed


if __name__ == "__main__":
    for name in write_assets(): print(f"textlab/assets/{name} written")
