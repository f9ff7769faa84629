"Run one section of a page, with the earlier cells that it needs and no others: seconds instead of the whole page"
import argparse, ast, builtins, os, re, sys, time
from pathlib import Path

import nbformat
from execnb.shell import CaptureShell

ROOT = Path(__file__).resolve().parent.parent
HEADING = re.compile(r"^#{2,3} (.+?)\s*$", re.M)
LEFT_OUT = re.compile(r"^#\|\s*(slow|gpu|notest|eval:\s*false)", re.M)


def names(source: str) -> tuple[set[str], set[str]]:
    "Names that a cell defines, and names that it takes from elsewhere"
    made, used = set(), set()
    try: tree = ast.parse(source)
    except SyntaxError: return made, used  # a magic of the notebook
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)): made.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            made |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name): (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
    return made, used


def is_patch(source: str) -> bool:
    "Does this cell add methods to a class of another cell?"
    return bool(re.search(r"^@patch|^\w+\.\w+ = ", source, re.M))


def sections(cells: list) -> list[str]:
    "The heading that each cell stands under"
    found, heading = [], ""
    for cell in cells:
        if cell.cell_type == "markdown" and (titles := HEADING.findall(cell.source)): heading = titles[-1]
        found.append(heading)
    return found


def needed(cells: list, wanted: list[int]) -> list[int]:
    "The code cells of a section, and before them those that define what it uses, what these use, and so on"
    code = {i: names(cell.source) for i, cell in enumerate(cells)
            if cell.cell_type == "code" and not LEFT_OUT.search(cell.source) and "nbdev_export(" not in cell.source}
    chosen, open_names = set(), set()
    for i in sorted(code, reverse=True):
        made, used = code[i]
        imports = "import *" in cells[i].source
        if i in wanted or made & open_names or imports or i < max(wanted, default=0) and is_patch(cells[i].source):
            chosen.add(i)
            open_names = (open_names - made) | (used - set(dir(builtins)))
            if not is_patch(cells[i].source): open_names |= used & made  # x = f(x): an earlier cell made x
    return sorted(chosen)


def main() -> None:
    "Parse the command line, run the cells, stop at the first that fails"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", help="such as nbs/03_vocab.ipynb")
    parser.add_argument("section", nargs="?", default="", help="part of a heading; without it, the headings are listed")
    options = parser.parse_args()
    path = Path(options.page).resolve()
    if not path.is_file(): sys.exit(f"{options.page}: no such page")
    cells = nbformat.read(path, as_version=4).cells
    headings = sections(cells)
    wanted = [i for i, h in enumerate(headings) if options.section and options.section.lower() in h.lower()]
    if not wanted: sys.exit("\n".join(["name a section of this page:", *dict.fromkeys(h for h in headings if h)]))
    os.chdir(path.parent)
    shell, began, rows = CaptureShell(), time.perf_counter(), needed(cells, wanted)
    for i in rows:
        shell.run(cells[i].source)
        if shell.exc: sys.exit(f"cell {i} ({headings[i] or 'the beginning'}):\n{cells[i].source}\n{shell.exc!r}")
    own = sum(i in wanted for i in rows)
    print(f"{own} cells of the section and {len(rows) - own} that it needs: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__": main()
