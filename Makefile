# `make compare` and `make test` set up `.venv` by themselves; a second run skips the set-up.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: compare paper test lint docs clean

compare: .venv/ready
	$(BIN)/python -m experiments.compare $(ARGS)

# DATA=DIR: where the published files lie; they are downloaded if it is left out. QUICK=1: minutes.
paper: .venv/ready
	$(BIN)/python -m experiments.paper $(if $(DATA),--data-dir $(DATA)) \
	  $(if $(QUICK),--quick --out runs/paper_quick) $(ARGS)

test: .venv/ready-dev
	$(BIN)/python -m pytest -n 2 $(ARGS)

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/ready-dev: .venv/ready
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv
