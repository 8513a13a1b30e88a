# The venue's commands. `make help` lists them.
# Everything is installed into .venv, from pinned requirements, and again only when those have changed.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: run test lint bench prove prove-long lockstep clean help

# The first Python that is new enough; `make run PYTHON=/path/to/python3.12` takes another.
PYTHON ?= $(shell for each in python3 python3.12 python3.11 python3.13; do \
	if $$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$each; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
# What was installed for a Python that is gone from the system counts no more: the environment is made anew, empty. So
# where the system's python3 is another version by now: it runs, but the folder of its packages is not there.
PACKAGES := import os, sysconfig; os.listdir(sysconfig.get_path("purelib"))
$(shell "$(BIN)/python" -Ic '$(PACKAGES)' 2>/dev/null || rm -f "$(BIN)/python" "$(RUN_STAMP)" "$(DEV_STAMP)")

# Where bytecode is not to be written, each process compiles the venue anew: a quarter of the work of a start, of which
# the suite makes a hundred.
unexport PYTHONDONTWRITEBYTECODE

OPERATIONS ?= 1000000
SEED ?= 1
ARGS ?=

run: $(RUN_STAMP) ## start the venue on http://127.0.0.1:8000 (PORT, HOST, DATA_DIR, … from the environment)
	@exec $(BIN)/python manage.py serve $(ARGS)

test: $(DEV_STAMP) ## run the whole suite against a real PostgreSQL and a real Redis
	@exec $(BIN)/python -m pytest -n 4 --dist worksteal --maxfail 25 $(ARGS)

lint: $(DEV_STAMP) ## check the style, the settings, and that no migration is missing
	@$(BIN)/ruff check .
	@$(BIN)/python manage.py check
	@PYTHONWARNINGS=ignore::RuntimeWarning $(BIN)/python manage.py makemigrations --check --dry-run

bench: $(DEV_STAMP) ## measure what is claimed about speed (ARGS="engine http fanout candles --quick")
	@$(PIP) --no-deps -r requirements-bench.txt
	@exec $(BIN)/python -m benchmarks $(ARGS)

prove: $(DEV_STAMP) ## run the proofs that take too long for the suite: load, crashes, fuzzing, models (ten minutes on four cores)
	@exec $(BIN)/python -m benchmarks.prove $(ARGS)

prove-long: $(DEV_STAMP) ## the same at full length (an hour and a half on four cores)
	@exec $(BIN)/python -m benchmarks.prove --long $(ARGS)

lockstep: $(DEV_STAMP) ## compare the engine with the reference book: OPERATIONS=1000000 SEED=1
	@exec $(BIN)/python -m benchmarks.lockstep --operations $(OPERATIONS) --seed $(SEED) $(ARGS)

clean: ## remove what was built and installed; the data in DATA_DIR (.data) stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 | \2/p' Makefile | awk -F' [|] ' '{ printf "%-18s %s\n", $$1, $$2 }'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "The venue needs Python 3.11 or newer; python3 here is: \
	$$(python3 --version 2>&1). Install one, or say where it is: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "The venue needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>&1)." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: \
	install its venv package (Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "venue: making $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv --clear $(VENV)

$(RUN_STAMP): requirements.txt constraints.txt | $(BIN)/python
	@echo "venue: installing what it needs into $(VENV) (once, a minute or so)"
	@$(PIP) -r requirements.txt
	@touch $@

$(DEV_STAMP): requirements-dev.txt requirements.txt constraints.txt | $(BIN)/python
	@echo "venue: installing what tests need into $(VENV) (once, a minute or so)"
	@$(PIP) -r requirements-dev.txt
	@touch $(RUN_STAMP) $@
