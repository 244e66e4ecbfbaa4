# `make demo` and `make test` work on a fresh machine with Python 3.11 and make; each sets itself up first.
.DEFAULT_GOAL := help
.PHONY: help setup demo dev test test-slow test-ui test-long test-live test-duckdb2 lint docs audit format bench bench-peers chaos lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

help: ## What each target does
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Make the virtual environment from the lock, if there is none

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## Reconcile both example tenants against the sandbox, twice, and show what happened
	$(BIN)/lms-crm demo

dev: $(READY) ## The Dagster UI and the receiver, with the sandbox behind them
	$(BIN)/lms-crm dev

# What the tests write is synced to the disk again and again, which takes half of their time: in memory where there is room.
SCRATCH := $(shell [ "$$(df --output=avail -k /dev/shm 2>/dev/null | tail -1)" -gt 4000000 ] 2>/dev/null && echo /dev/shm || echo "$${TMPDIR:-/tmp}")

# What is imported again and again by children is compiled once, also where the environment would not have it kept.
export PYTHONDONTWRITEBYTECODE :=

SUITE := TMPDIR=$(SCRATCH) $(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder

test: $(READY) ## The test suite but for what takes the whole product many times, within ten minutes
	$(SUITE) -m "not slow and not long"

test-slow: $(READY) ## The whole product from end to end, its processes killed, its pages in a browser: with "make test" what has to pass
	$(SUITE) -m "slow and not long"

test-ui: $(READY) ## Of these the ones in a browser; skipped with the reason where none is
	TMPDIR=$(SCRATCH) $(BIN)/python -m pytest tests/ui

test-long: $(READY) ## What both leave out: its like is there, or it takes minutes
	TMPDIR=$(SCRATCH) $(BIN)/python -m pytest -n 3 --dist load -m long

test-live: $(READY) ## The vendors' recorded answers against a live org and portal that the environment names
	$(BIN)/python -m pytest tests/contract/vendors --live

# The next major version, which the code is to run on too: its files can't be opened by this one.
DUCKDB2 := .lms-crm/duckdb2
TESTS ?= -n 3 --dist loadscope --no-loadscope-reorder -m "not long"

test-duckdb2: $(DUCKDB2)/.ready ## The test suite on DuckDB 2.0, in an environment of its own; TESTS="tests/delta" for a part of it
	TMPDIR=$(SCRATCH) $(DUCKDB2)/bin/python -m pytest $(TESTS)

$(DUCKDB2)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(DUCKDB2)
	$(DUCKDB2)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(DUCKDB2)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(DUCKDB2)/bin/pip install --quiet --disable-pip-version-check --no-deps duckdb==2.0.0
	@touch $@

lint: $(READY) ## Style, types, the direction of imports, the lock, and secrets in the files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m lint.lock
	$(BIN)/python -m lint.secrets

# Warnings are errors: a link or an anchor that leads nowhere, a page that is in no table of contents.
docs: $(READY) ## The documentation as a site to read without a network: .lms-crm/docs/index.html
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --doctree-dir .lms-crm/doctrees docs .lms-crm/docs

# Advisories come from a service: no package of the index keeps them (safety-db ended in 2021), so this is no part of "make lint".
# --strict: where the service does not know a package nothing is known of it, which else would pass for clean.
AUDIT := .lms-crm/audit

audit: $(READY) ## Known weaknesses of the locked packages, asked of a service of advisories: needs a network
	@test -x $(AUDIT)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT) && $(AUDIT)/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1; }
	@$(AUDIT)/bin/pip-audit --strict --requirement requirements.lock --require-hashes --disable-pip --progress-spinner off --timeout 30 || \
		{ echo "make audit: pip-audit named weaknesses above, or could not reach the service of advisories: then nothing is known, run it where there is a network" >&2; exit 1; }

format: $(READY) ## Let the formatter have its way
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

chaos: $(READY) ## Kills, lost answers, outages, large loads: what the CRM holds afterwards (an hour)
	$(BIN)/python -m tests.chaos $(CHAOS)

bench: $(READY) ## The measured figures
	$(BIN)/python -m benchmarks

bench-peers: $(READY) ## The same beside other products (drt, dlt, reladiff, datacompy, pandas), in an environment of their own
	$(BIN)/python -m benchmarks peers

LOCKED := --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate --no-emit-index-url --no-emit-find-links

lock: $(READY) ## Resolve the dependencies anew into requirements.lock and the image's deploy/requirements.lock (needs uv)
	uv pip compile pyproject.toml --group dev --group docs --extra production --extra celery $(LOCKED) --output-file requirements.lock
	uv pip compile pyproject.toml --group build --extra production --extra celery --extra otel --extra ducklake --constraint requirements.lock $(LOCKED) \
		--output-file deploy/requirements.lock

clean: ## Remove the state of the demo (not the environment)
	rm -rf .lms-crm
