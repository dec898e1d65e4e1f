# Every target does its own set-up; the second time it takes a second.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-long mutations check audit format docs pictures clean

## A study on real photographs, from nothing to weights to take home (under 15 minutes).
demo: $(READY)
	$(BIN)/srtune demo $(DEMO)

## The whole suite, on SQLite and on a PostgreSQL it starts itself, file by file in two processes.
test: $(READY)
	$(BIN)/python -m pytest -m "not gpu and not long" --numprocesses 2 --dist loadfile $(TESTS)

## The long profiles: the model test's 20,000 steps and the chaos with its full counts (hours).
test-long: $(READY)
	$(BIN)/python -m pytest -m long --timeout 14400 -s $(TESTS)

## Takes one safeguard after the other out of a copy; each must turn a test red (10 minutes).
mutations: $(READY)
	$(BIN)/python -m tests.mutations.run $(MUTANTS)

## What must be clean before a commit.
check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m migrations.verify
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml service workers losses migrations

## Known vulnerabilities in the pinned packages; asks a service on the network, so `check` cannot.
audit:
	test -x .audit/bin/pip-audit || ($(PYTHON) -m venv .audit && .audit/bin/pip install --quiet pip-audit)
	.audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

## The pages that are made from code: study definition, recipes, losses.
docs: $(READY)
	$(BIN)/python -m service.cli.study_docs docs/study.md
	$(BIN)/python -m service.cli.recipe_docs docs/recipes.md
	$(BIN)/python -m service.cli.loss_docs docs/losses.md

## The pictures and measured tables of docs/losses.md; run `make docs` after it (three minutes, fetches weights).
pictures: $(READY)
	$(BIN)/python -m benchmarks.loss_pictures docs/pictures/losses
	$(BIN)/python -m benchmarks.vmaf_pictures docs/pictures/vmaf
	$(BIN)/python -m benchmarks.patch_growth docs/pictures/losses/growth.json

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) .audit .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
