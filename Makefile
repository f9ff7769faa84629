# `make` alone says what there is to make. Everything runs in .venv, built once from requirements.lock.
#   PYTHON=python3.12     another interpreter (3.11 or newer) to build .venv with
#   TORCH_FROM="--index-url https://download.pytorch.org/whl/cpu"     where the CPU build of torch is, if PyPI's brings CUDA
#   WORKERS=4             notebooks tested at once
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo export test notebooks lab docs-check bench lock env

recent := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do $$p -c "$(recent)" 2>/dev/null && echo $$p && break; done)
TORCH := $(shell sed -n '/^torch==/p' requirements.lock)
TORCH_FROM ?=
WORKERS ?= 2
PAGES ?=
BENCH ?= topics

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
READY := $(VENV)/.project

# Two cores are shared by WORKERS pages: one thread each is faster than threads that fight.
quiet := TOKENIZERS_PARALLELISM=false TEXTLAB_PROGRESS=0 PYTHONUNBUFFERED=1

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## Topics of real text in a report you can open: report/index.html
	$(BIN)/textlab demo

export: $(READY) ## Write textlab/ from the notebooks: modules, and the scripts and styles of pages
	$(BIN)/nbdev_export
	$(BIN)/python scripts/export_assets.py

test: export OMP_NUM_THREADS = 1
test: export NUMBA_NUM_THREADS = 1
test: export HF_HUB_OFFLINE = 1
test: $(READY) ## Exported package = notebooks, every inline test, every pytest (needs no network)
	$(BIN)/python scripts/check_export.py
	$(quiet) $(BIN)/nbdev_test --n_workers $(WORKERS) --timing --do_print
	$(quiet) MPLBACKEND=agg $(BIN)/python -m pytest

notebooks: export ## Execute every page top to bottom in a fresh kernel, save outputs, remake README.md (PAGES="nbs/00_core.ipynb" for some)
	$(quiet) $(BIN)/python scripts/run_notebooks.py $(PAGES)
	$(BIN)/python scripts/make_readme.py

lab: $(READY) ## Open the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=nbs

docs-check: $(READY) ## Links, equations, citations, and what the site shows of each page; renders it and opens it in a browser where there are both
	$(BIN)/python scripts/check_docs.py --process
	@if command -v quarto >/dev/null; then PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/nbdev_docs \
	  && TEXTLAB_SITE="$(CURDIR)/_docs" $(BIN)/python -m pytest -q tests/test_site.py; \
	else echo "quarto is not on PATH: the site itself was not rendered (the workflow does it)"; fi

bench: $(READY) ## Benchmarks against named peers; first: .venv/bin/pip install --no-deps -r requirements-bench.lock (BENCH="topics --help")
	$(BIN)/textlab bench $(BENCH)

lock: $(READY) ## Write requirements.lock again from what .venv holds
	$(BIN)/python scripts/lock.py > $(VENV)/new.lock
	@cmp -s $(VENV)/new.lock requirements.lock && echo "requirements.lock is up to date" || { mv $(VENV)/new.lock requirements.lock; echo "requirements.lock written"; }
	@rm -f $(VENV)/new.lock

env: $(READY) ## Only build .venv

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "textlab needs Python 3.11 or newer, found none on PATH; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c "$(recent)" || { echo "textlab needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1); name another: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --disable-pip-version-check --python $(BIN)/python install pip; }

# torch first, alone, with its own dependencies: they differ between CPU and CUDA builds. The rest exactly as locked.
$(VENV)/.packages: requirements.lock | $(BIN)/python
	$(PIP) install $(TORCH_FROM) $(TORCH)
	$(PIP) install --no-deps -r requirements.lock
	@touch $@

$(READY): $(VENV)/.packages settings.ini setup.py pyproject.toml
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
