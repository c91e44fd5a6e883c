# Everything runs from .venv, which the first target that needs it makes.

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
OLDEST := .venv-oldest
OUT ?= runs/demo

.DEFAULT_GOAL := help
.PHONY: help install demo test test-browser test-oldest bench docs mutants kill fuzz lint format hooks clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: .venv/installed ## make .venv and install the package with its development tools

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

demo: .venv/installed ## the whole job on synthetic driving clips (OUT=runs/demo)
	$(BIN)/caf-video demo --out $(OUT)

test: .venv/installed lint ## lint, types and all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --durations=10

# Debian's Chromium, for playwright's own is not for every system; sudo where one is not root.
test-browser: .venv/installed ## the pages in a real browser, which this installs (Debian)
	$(BIN)/python -m pip install --quiet -e '.[browser]'
	command -v chromium || ( [ "$$(id -u)" = 0 ] || SUDO=sudo; $$SUDO apt-get install -y -qq chromium )
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser tests/browser

# A dependency of a dependency is the newest, and an old release may call what that deprecates.
test-oldest: $(OLDEST)/installed ## all tests with the oldest dependencies (PYTHON=python3.11)
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -W default::DeprecationWarning

$(OLDEST)/installed: pyproject.toml
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet uv
	$(OLDEST)/bin/uv pip compile --quiet --resolution lowest-direct --python $(OLDEST)/bin/python \
		--output-file $(OLDEST)/versions.txt pyproject.toml
	$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python \
		--constraint $(OLDEST)/versions.txt --editable '.[dev]'
	touch $@

bench: .venv/installed ## ratios against named peers, one run
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks --out runs/bench

docs: .venv/installed ## the documentation as pages, docs/_build/index.html
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --fail-on-warning --keep-going -b html docs docs/_build

mutants: .venv/installed ## small errors that the tests would not notice, a sample, an hour
	$(BIN)/python -m pip install --quiet -e '.[mutants]'
	$(BIN)/python -m benchmarks.mutants --out runs/mutants

kill: .venv/installed ## each stage killed at random moments, run again, compared, a few minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.kill --out runs/kill

fuzz: .venv/installed ## damaged, odd and hostile files at every reader (FUZZ_SECONDS=300, FUZZ_SEED=0)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fuzz

lint: .venv/installed ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: .venv/installed ## let git run the checks of .pre-commit-config.yaml before a commit
	$(BIN)/pre-commit install

clean: ## remove environments, caches and runs
	rm -rf .venv $(OLDEST) runs dist build docs/_build docs/reference/made .pytest_cache .mypy_cache .ruff_cache
