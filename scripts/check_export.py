"Exit 1, naming each file, if textlab/ is not exactly what the notebooks make: modules and assets. Needs no git."
import difflib, shutil, subprocess, sys, tempfile
from pathlib import Path

from export_assets import write_assets

ROOT = Path(__file__).resolve().parent.parent


def sources(folder: Path) -> dict[str, str]:
    "Text of each Python file under `folder` and of each file under its `assets`, by relative path"
    files = {*folder.rglob("*.py"), *(path for path in folder.glob("assets/**/*") if path.is_file())}
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(files)}


def fresh_export(root: Path, copy: Path) -> None:
    "Export the notebooks of `root` into `copy`/textlab, where nothing stands but what is written by hand"
    (copy / "nbs").mkdir(parents=True)
    for page in root.glob("nbs/*.ipynb"): shutil.copy(page, copy / "nbs")
    for name in ("settings.ini", "setup.py"): shutil.copy(root / name, copy)
    for written in (*root.glob("textlab/**/__init__.py"), root / "textlab/__main__.py"):
        place = copy / written.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(written, place)
    done = subprocess.run([Path(sys.executable).parent / "nbdev_export"], cwd=copy, capture_output=True, text=True)
    if done.returncode: sys.exit(f"nbdev_export failed:\n{done.stdout}{done.stderr}")
    write_assets(copy)


def differences(root: Path = ROOT) -> list[str]:
    "One line for each file of textlab/ that differs from a fresh export, with the first lines that do"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "textlab-export"
        fresh_export(root, copy)
        here, fresh = sources(root / "textlab"), sources(copy / "textlab")
    found = []
    for name in sorted(here.keys() | fresh.keys()):
        if name not in fresh: found.append(f"textlab/{name}: no notebook makes it; delete it")
        elif name not in here: found.append(f"textlab/{name}: not exported yet")
        elif here[name] != fresh[name]:
            lines = difflib.unified_diff(here[name].splitlines(), fresh[name].splitlines(), lineterm="", n=0)
            found.append("\n    ".join([f"textlab/{name}: differs from its notebook", *list(lines)[2:8]]))
    return found


if __name__ == "__main__":
    found = differences()
    for line in found: print(line, file=sys.stderr)
    if found: sys.exit("textlab/ is not what the notebooks say. Run `make export` (and never edit textlab/ by hand).")
    print("Exported package = notebooks")
