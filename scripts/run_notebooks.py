"Execute pages top to bottom, each in a fresh kernel, and save them with their outputs, cleaned. `make notebooks` calls it."
import argparse, base64, io, os, re, subprocess, sys, tempfile, time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "nbs"
DIRECTIVE = re.compile(r"^\s*#\s*\|\s*(\w+)\s*:?\s*(.*?)\s*$", re.M)


def in_order(names: list[str]) -> list[Path]:
    "The pages to run: those named, or all; index and quick_start before the numbered ones"
    pages = [Path(name).resolve() for name in names] or sorted(PAGES.glob("*.ipynb"), key=lambda page: (page.name[0].isdigit(), page.name))
    missing = [str(page) for page in pages if not page.is_file()]
    if missing: sys.exit(f"no such page: {', '.join(missing)}")
    return pages


def runs(
    source: str, # of a code cell
    skip: set[str] = frozenset(), # directives whose cells keep the output they have
) -> bool: # does this cell run?
    "Cells with `eval: false`, with a directive in `skip`, and the closing `nbdev_export()` do not run"
    directives = dict(DIRECTIVE.findall(source))
    return directives.get("eval", "").lower() != "false" and not skip & directives.keys() and "nbdev_export(" not in source


def client_for(notebook: nbformat.NotebookNode, folder: Path, private: str, timeout: int) -> NotebookClient:
    "A client whose fresh kernel works in `folder` and talks through files in `private`, not through ports of the machine"
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # another backend would leave figures out
    client = NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.extra_arguments = ["--InlineBackend.figure_formats=retina"]  # twice the pixels, shown at the same size
    client.create_kernel_manager()
    if os.name == "posix": client.km.transport, client.km.ip = "ipc", f"{private}/kernel"
    return client


TEMPORARY = re.escape(tempfile.gettempdir())
# the project's folder, a temporary folder, and the file that a cell becomes in a kernel, with the line of a warning
PLACES = re.compile(rf"{re.escape(str(ROOT))}/|{TEMPORARY}/ipykernel_\d+/\d+\.py:\d+: |{TEMPORARY}/tmp\w+/")


def unplace(outputs: list) -> None:
    "Write paths inside the project relative to it, so that no output names a place on this machine"
    for output in outputs:
        for holder in (output, output.get("data", {})):
            for kind, text in holder.items():
                if isinstance(text, str) and not kind.startswith("image/"): holder[kind] = PLACES.sub("", text)


def slim(outputs: list) -> None:
    "Write pictures with a palette of 256 colours: twice the pixels in hardly more bytes"
    for output in outputs:
        data = output.get("data", {})
        if "image/png" not in data: continue
        picture, small = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGBA"), io.BytesIO()
        white = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
        white.quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
        data["image/png"] = base64.b64encode(small.getvalue()).decode()


def execute(page: Path, skip: set[str] = frozenset(), timeout: int = 3600) -> tuple[float, int]:
    "Run `page` and put the result in its place; returns seconds and the number of cells that kept their output"
    start = time.perf_counter()
    notebook = nbformat.read(page, as_version=4)
    kept = 0
    with tempfile.TemporaryDirectory() as private, (client := client_for(notebook, page.parent, private, timeout)).setup_kernel():
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code": continue
            if not runs(cell.source, skip): kept += bool(cell.outputs)
            else:
                outputs = client.execute_cell(cell, index).outputs
                unplace(outputs)
                slim(outputs)
    whole = page.with_name(f".{page.name}.new")
    try:
        nbformat.write(notebook, whole)
        os.replace(whole, page)
    finally: whole.unlink(missing_ok=True)
    subprocess.run([Path(sys.executable).parent / "nbdev_clean", "--fname", page], check=True, cwd=ROOT)
    return time.perf_counter() - start, kept


def main() -> None:
    "Parse the command line, run the pages, stop at the first that fails"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", help="pages to run (default: all, in order)")
    parser.add_argument("--skip-slow", action="store_true", help="cells marked `#| slow` keep the output they have")
    parser.add_argument("--gpu", action="store_true", help="run the cells marked `#| gpu` too")
    parser.add_argument("--timeout", type=int, default=3600, help="seconds that one cell may take")
    options = parser.parse_args()
    skip = {name for name, keep in [("slow", options.skip_slow), ("gpu", not options.gpu)] if keep}
    os.environ.setdefault("TEXTLAB_PROGRESS", "0")
    os.environ.pop("MPLBACKEND", None)  # another backend than the kernel's own leaves the pictures out
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")  # tqdm's, in kernels without widgets
    total = time.perf_counter()
    for page in in_order(options.pages):
        try: seconds, kept = execute(page, skip, options.timeout)
        except (CellExecutionError, DeadKernelError, TimeoutError) as error:
            sys.exit(f"{page.name}: left as it was, because a cell failed\n{error}")
        print(f"{page.name}: {seconds:.1f} s" + (f", {kept} cells kept their output" if kept else ""), flush=True)
    print(f"all pages: {time.perf_counter() - total:.0f} s")


if __name__ == "__main__": main()
