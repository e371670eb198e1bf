# `make compare` and `make test` set up `.venv` by themselves; a second run skips the set-up.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: compare paper test lint docs wheel clean

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

docs: .venv/ready-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir runs/site

# The quick start, in an environment that has the wheel and nothing else of ours.
wheel: .venv/ready
	rm -rf dist build runs/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv runs/wheel
	runs/wheel/bin/python -m pip install --quiet dist/*.whl
	runs/wheel/bin/python -P tests/quick_start.py dist/*.whl

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/ready-dev: .venv/ready
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

.venv/ready-docs: .venv/ready
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv
