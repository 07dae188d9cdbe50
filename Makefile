# Everything sets itself up: `make demo` or `make test` may be the first command ever run in a clone.

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
STAMP  := $(VENV)/.installed
STORES := data/results
TOOLS  := $(VENV)/browser-tools

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-slow test-browser test-slurm coverage mutants machine-code lint bench clean

help:  ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(STAMP)  ## A virtual environment with ntkmc and the tools of its tests

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "ntkmc needs Python >= 3.11: no '$(PYTHON)' found; install it, or make PYTHON=/path/to/python3 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ntkmc needs Python >= 3.11: '$(PYTHON)' is $$($(PYTHON) -V 2>&1); make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "ntkmc needs Python's venv module: on Debian, apt-get install python3-venv" >&2; exit 2; }
	@command -v git >/dev/null || { echo "ntkmc records the state of its clone with git: no 'git' found; install it" >&2; exit 2; }
	@echo "setting up $(VENV), a few minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable . --group dev
	@touch $@

demo: $(STAMP)  ## Run the two first-light studies and show what they say
	$(BIN)/ntkmc run data/studies/first-light.yaml --store $(STORES)/first-light.zarr
	$(BIN)/ntkmc run data/studies/first-light-h.yaml --store $(STORES)/first-light-h.zarr
	$(BIN)/ntkmc show $(STORES)/first-light.zarr --format csv --figure $(STORES)/first-light.png > $(STORES)/first-light.csv
	$(BIN)/ntkmc report $(STORES)/first-light.zarr -o $(STORES)/first-light.html
	$(BIN)/ntkmc show $(STORES)/first-light.zarr d=8,n=16 --long

lint: $(STAMP)  ## ruff, mypy --strict and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Compiling takes half a minute, which mypy leaves a core for: each of the two test processes would compile all of it.
machine-code: $(STAMP)
	@$(BIN)/python -m pytest -q pipeline/ntkmc/linalg pipeline/ntkmc/theory >/dev/null || true

test: $(STAMP)  ## Lint, types, layers and the fast tests: about 5 minutes on two cores
	@$(MAKE) --no-print-directory -j2 lint machine-code
	$(PYTEST) -m "not long and not slow and not slurm and not browser" -n 2

# The long tests start clusters of several processes, kill workers, and wait for what follows: one at a time. A run that
# is broken ends early, so that its report is printed.
test-all: test  ## The fast and the long tests, and those in a browser: what continuous integration runs
	$(PYTEST) -m "long and not slow and not slurm and not browser" --maxfail 8
	$(MAKE) test-browser

coverage: $(STAMP)  ## Lines of the package that `make test-all` runs, in all processes: fails below 95 %
	$(BIN)/coverage erase
	$(MAKE) test-all PYTEST="$(BIN)/coverage run -m pytest"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

mutants: $(STAMP)  ## 300 random errors in theory, linalg, statistics: fails if the fast tests miss 10 %; 40 minutes
	PYTHONPATH=tests $(BIN)/python -m mutation $(MUTANTS)

test-slow: $(STAMP)  ## Tests of minutes each: all shipped studies, fuzzing, injected faults, a million trials
	$(PYTEST) -m slow

test-browser: $(STAMP)  ## The Study page, the explorer and the report in chromium; says what it lacks
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { apt-get install -y -q chromium >/dev/null 2>&1 || { apt-get update -q && apt-get install -y -q chromium; } >/dev/null 2>&1; }; } || echo "no chromium here (Debian: apt-get install chromium): its tests are skipped"
	@[ -d $(TOOLS)/node_modules/axe-core ] || { command -v npm >/dev/null && npm install --silent --no-audit --no-fund --prefix $(TOOLS) axe-core@4 vnu-jar; } || echo "no npm here, or no registry: the HTML validator and axe-core are skipped"
	$(PYTEST) -m browser tests/browser

test-slurm: $(STAMP)  ## On a real SLURM, brought up on this machine: root on Debian, else skipped; half an hour
	$(PYTEST) -m slurm tests/slurm

bench: $(STAMP)  ## Side by side with what one would use instead
	$(BIN)/python tests/benchmarks/smallest_eigenvalue.py --largest 8000 --figure $(STORES)/bench.png
	$(BIN)/python tests/benchmarks/gram.py
	$(BIN)/python tests/benchmarks/sketching.py
	$(BIN)/python tests/benchmarks/study_page.py
	$(BIN)/python tests/benchmarks/blocked.py --n 4000 12000 --workers 1 2 4

clean:  ## Remove the environment and all caches; results stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
	find pipeline tests -name __pycache__ -type d -exec rm -rf {} +
