"Print requirements.lock: the exact versions, in this environment, of all that textlab's requirements reach"
import re, sys
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
# Asked for by someone's metadata, never imported by what textlab uses.
LEFT_OUT = {
    "torchvision": "fastai wants it for vision only; without a build for this very torch it breaks transformers",
    "spacy": "fastai wants it for its spaCy tokenizer only",
    "wheel": "astunparse lists it, only its own build needs it",
}
TOOLS = ["setuptools"]  # what builds the project
TESTED = ["graph", "search", "codes", "words", "tables", "llm", "maps", "serve"]  # extras whose systems are tested
# What torch brings along where its build is CUDA's; the machine decides, not the lock.
CUDA = re.compile(r"nvidia-|cuda-|triton$")

HEAD = """\
# Exact versions that are tested together: Python 3.11, x86-64 Linux, CPU. Made by `make lock`, read by `make`.
# Install torch alone first, with its own dependencies (these differ between CPU and CUDA builds), the rest without any:
#   pip install {torch}
#   pip install --no-deps -r requirements.lock
#   pip install --no-deps --no-build-isolation -e .
# Left out on purpose:
{left}
"""


def asked() -> list[str]:
    "Requirements of the library, of the extras that its tests use and of its development, as settings.ini has them"
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    settings = config["DEFAULT"]
    names = ["requirements", *(f"{extra}_requirements" for extra in TESTED), "dev_requirements"]
    return [requirement for name in names for requirement in settings[name].split()] + TOOLS


def closure(requirements: list[str]) -> dict[str, str]:
    "Name and version of each package that `requirements` reach, extras and markers taken into account"
    found, seen, todo = {}, set(), [Requirement(r) for r in requirements]
    while todo:
        need = todo.pop()
        name = canonicalize_name(need.name)
        key = (name, frozenset(need.extras))
        if key in seen or name in LEFT_OUT or CUDA.match(name): continue
        seen.add(key)
        try: dist = distribution(need.name)
        except PackageNotFoundError: sys.exit(f"lock: {need} is required but not installed here; install it, then run `make lock` again")
        version = dist.version.split("+")[0]  # a local label such as +cpu names a build, not a release
        if not need.specifier.contains(version, prereleases=True): sys.exit(f"lock: {name} {version} is installed where {need} is required")
        found[name] = f"{dist.metadata['Name']}=={version}"
        for line in dist.requires or []:
            child = Requirement(line)
            if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in need.extras or {""}): todo.append(child)
    return found


def lock() -> str:
    "The text of requirements.lock"
    found = closure(asked())
    left = "\n".join(f"#   {name}: {why}" for name, why in LEFT_OUT.items())
    return HEAD.format(torch=found["torch"], left=left) + "\n".join(found[name] for name in sorted(found)) + "\n"


if __name__ == "__main__": print(lock(), end="")
