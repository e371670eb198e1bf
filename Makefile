# `make compare` and `make test` set up `.venv` by themselves; a second run skips the set-up.
# EXTRA=cuda (or torch, avalanche): an extra of pyproject.toml to install too.
PYTHON ?= python3
BIN := .venv/bin
# pip --no-compile: Python compiles a module at its first import, instead of pip all at once. Some
# container images forbid it to keep what it compiled; each of fifty starts would then compile again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: compare paper check-device test soak lint docs wheel clean

compare: .venv/ready $(EXTRA:%=.venv/ready-%)
	$(BIN)/python -m experiments.compare $(ARGS)

# DATA=DIR: the folder of the published files; they are downloaded if it is left out.
# QUICK=1: minutes.
paper: .venv/ready $(EXTRA:%=.venv/ready-%)
	$(BIN)/python -m experiments.paper $(if $(DATA),--data-dir $(DATA)) \
	  $(if $(QUICK),--quick --out runs/paper_quick) $(ARGS)

# On a machine with an accelerator: make check-device EXTRA=cuda
check-device: .venv/ready-dev $(EXTRA:%=.venv/ready-%)
	$(BIN)/python -m experiments.check_device $(ARGS)

test: .venv/ready-dev $(EXTRA:%=.venv/ready-%)
	$(BIN)/python -m pytest -n 2 $(ARGS)

# Random campaigns: kills, command lines, folders, data files, mirrors, estimators; about 40 minutes.
# SFFA_SOAK=0.1: a tenth of the attempts. SFFA_SOAK_SEED=1: other attempts.
soak: .venv/ready-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow -rP tests/soak $(ARGS)

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/ready-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir runs/site

# The README's example, in an environment with the wheel and nothing else of this repository.
# ALONE=.venv: `make test` goes on from that environment, and installs only what it lacks.
ALONE := runs/wheel
wheel:
	rm -rf dist build $(ALONE)
	$(PYTHON) -m venv $(ALONE)
	$(ALONE)/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(ALONE)/bin/python -m pip install --quiet --no-compile dist/*.whl
	$(ALONE)/bin/python -P tests/quick_start.py dist/*.whl

.venv/ready: NEEDED := experiments,stream
.venv/ready-dev: NEEDED := dev  # contains these two; one installation is faster than two
.venv/ready .venv/ready-dev: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[$(strip $(NEEDED))]'
	touch .venv/ready $@

.venv/ready-%: .venv/ready
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[$*]'
	touch $@

clean:
	rm -rf .venv
