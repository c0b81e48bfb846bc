# All one needs: `make` lists it. Needs python3 (3.11 or newer, with venv) and make; everything else is installed
# into .venv, in the versions of constraints.txt. Another interpreter: `make PYTHON=python3.13 test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUNTIME := $(VENV)/.runtime
DEVELOP := $(VENV)/.develop
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test soak lint bench bench-nab bench-peers validity docs pin clean

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

demo: $(RUNTIME) ## Play a week of a real RAG workload and show its dashboard (ARGS=--live goes on)
	@$(BIN)/barograph demo $(ARGS)

# Hundreds of tests start programs: none shall compile the package anew, or have threads of BLAS spin beside it.
test soak: export PYTHONDONTWRITEBYTECODE =
test soak: export OPENBLAS_NUM_THREADS = 1

# Files are handed out in the order of tests/conftest.py, the longest first.
test: $(DEVELOP) ## Run every test, three files at a time (ARGS=-x stops at the first failure)
	$(BIN)/python -m pytest -v -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

# What repeats what chance decides reads tests/support/soak.py.
soak: $(DEVELOP) ## Crashes, outages and load in their long form, about half an hour (ten minutes of it 1,000 connections)
	BAROGRAPH_SOAK=1 $(BIN)/python -m pytest -v -o timeout=3600 $$(grep -rl --include='test_*.py' support.soak tests) $(ARGS)

lint: $(DEVELOP) ## Check style, types and which folder imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEVELOP) ## Measure, print a table, write bench/results.md
	$(BIN)/python -m bench $(ARGS)

bench-nab: $(DEVELOP) ## Score the anomaly detector on NAB (BAROGRAPH_NAB_DATA names another folder)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m bench.nab

bench-peers: $(DEVELOP) ## The same traces into Barograph, Phoenix and MLflow; writes bench/peers.md
	$(BIN)/python -m bench.peers $(ARGS)

validity: $(DEVELOP) ## Measure error rates of the statistics under peeking, write docs/validity.md (minutes)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m bench.validity --write $(ARGS)

docs: $(DEVELOP) ## Write the pages of docs/ that are made from the code
	$(BIN)/python tools/generate_docs.py

pin: $(DEVELOP) ## Write constraints.txt from what is installed in .venv
	$(BIN)/python tools/pin.py

clean: ## Remove .venv and whatever was built or cached
	rm -rf $(VENV) .bench build dist client/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Barograph needs Python 3.11 or newer; $(PYTHON) is missing or older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || { \
		echo "$(PYTHON) has no venv. On Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Hatchling is pinned too, so the package is built with it and not with one that is fetched for the moment.
$(RUNTIME): pyproject.toml client/pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what Barograph needs (about 1.2 GB, half of it the engine) ..."
	$(PIP) install -c constraints.txt hatchling editables
	$(PIP) install -c constraints.txt --no-build-isolation -e client -e .
	@touch $@

$(DEVELOP): $(RUNTIME)
	$(PIP) install -c constraints.txt --no-build-isolation -e client -e ".[dev]"
	@touch $@
