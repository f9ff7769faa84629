"Write README.md from nbs/index.ipynb; with --check only say whether it is up to date"
import re, sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
INDEX, README = ROOT / "nbs" / "index.ipynb", ROOT / "README.md"
NOTE = "<!-- Made from nbs/index.ipynb by `make notebooks`; edit that page, not this file. -->\n\n"
DIRECTIVE = re.compile(r"^\s*#\s*\|\s*(\w+)[^\n]*\n?", re.M)
LINK = re.compile(r"(\]\()(?!https?:|mailto:|#|/)([^)]+)(\))")


def readme_link(target: str) -> str:
    "A link of a page in nbs/, as seen from the root of the project"
    return target[3:] if target.startswith("../") else f"nbs/{target}"


def readme() -> str:
    "The text of README.md: the index without front matter, hidden cells and directives, with its outputs as text"
    notebook = nbformat.read(INDEX, as_version=4)
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "raw": continue
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(lambda link: link[1] + readme_link(link[2]) + link[3], cell.source)
        else:
            names = set(DIRECTIVE.findall(cell.source))
            if names & {"hide", "default_exp"}: continue
            cell.source = DIRECTIVE.sub("", cell.source).strip()
            pictures = [output for output in cell.outputs if any(kind.startswith("image/") for kind in output.get("data", {}))]
            if pictures:
                raise SystemExit("index.ipynb shows a picture as an output; README.md holds text only: "
                                 "save it under nbs/images and link it")
        cells.append(cell)
    notebook.cells = cells
    notebook.metadata.setdefault("language_info", {"name": "python"})
    plain = Config(NbConvertBase={"display_data_priority": ["text/markdown", "text/plain"]})
    text, _ = MarkdownExporter(config=plain).from_notebook_node(notebook)
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.splitlines()))
    return NOTE + text.strip() + "\n"


if __name__ == "__main__":
    text = readme()
    if "--check" not in sys.argv[1:]: README.write_text(text, encoding="utf-8")
    elif not README.exists() or README.read_text(encoding="utf-8") != text:
        sys.exit("README.md is not what nbs/index.ipynb says; run scripts/make_readme.py")
    print("README.md = nbs/index.ipynb" if "--check" in sys.argv[1:] else "README.md written")
