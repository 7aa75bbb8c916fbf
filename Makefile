# The targets a newcomer needs; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := gate migrations testbed bench tests
TESTS ?= tests
WORKERS ?= auto

.PHONY: help setup controlplane postgres check fmt schema test demo bench bench-large lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv, so that .venv/bin/gate runs (about 1 minute)

$(READY): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "gate needs Python 3.11 or newer, and '$(PYTHON)' is not: install one (Debian: apt-get install python3)" \
	       "or name it: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the locked dependencies into $(VENV); this usually takes about 1 minute." >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

controlplane: $(READY) ## find or build the Kubernetes binaries; prints their folder last (about 9 minutes, once)
	@$(BIN)/python -m testbed.binaries

postgres: $(READY) ## fetch the oldest PostgreSQL that gate supports, for the tests; prints its folder last
	@$(BIN)/python -m testbed.postgres

check: $(READY) ## format, lint, types, import rules, and the tests that touch nothing
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/pytest -q tests/unit

fmt: $(READY) ## format, and mend what the linter can mend
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

schema: $(READY) ## write docs/policy.schema.json anew from the code
	@$(BIN)/gate patterns schema > docs/policy.schema.json

test: controlplane postgres ## run every test, on a real API server and real PostgreSQL
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile $(TESTS)

demo: controlplane ## watch a real API server refuse an agent by each pattern
	@$(BIN)/python -m testbed.demo

bench: $(READY) ## measure gate beside its floors; exits 1 where a target is missed (about 5 minutes)
	@$(BIN)/python -m bench $(BENCH)

bench-large: $(READY) ## compare 10 thousand traces with 10 million (about 30 minutes, 40 GB of disk)
	@$(BIN)/python -m bench.large

lock: $(READY) ## resolve the dependencies again (needs uv)
	@command -v uv >/dev/null || { echo "uv is missing: pip install uv" >&2; exit 1; }
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --quiet --all-extras --group dev pyproject.toml --output-file requirements/dev.lock
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --quiet --constraints requirements/dev.lock pyproject.toml --output-file requirements/server.lock

clean: ## remove what the targets made in this folder; the caches outside it stay
	@rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
