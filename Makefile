# Everything runs from .venv, which the first target that needs it makes.

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
OUT ?= runs/demo

.DEFAULT_GOAL := help
.PHONY: help install demo test bench mutants lint format clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

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

bench: .venv/installed ## ratios against named peers, one run
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks --out runs/bench

mutants: .venv/installed ## small errors that the tests would not notice, a sample, an hour
	$(BIN)/python -m pip install --quiet -e '.[mutants]'
	$(BIN)/python -m benchmarks.mutants --out runs/mutants

lint: .venv/installed ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv, caches and runs
	rm -rf .venv runs dist build .pytest_cache .mypy_cache .ruff_cache
