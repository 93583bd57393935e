# `make` alone prints this list. Every target makes .venv by itself when it is missing.
VENV   ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
LONG   := $(addprefix tests/,faults end_to_end browser benchmarks plugins/seesr study/experiment)
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup quickstart check quick-tests lint types test test-slow bench clean

help:  ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' \
	  | while IFS='|' read -r target text; do printf '  make %-11s %s\n' "$$target" "$$text"; done

setup: $(READY)  ## make .venv with everything that the project needs (about 8 GB, once)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "srcache needs Python 3.11 or newer; none was found on PATH" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "srcache needs Python 3.11 or newer, but $(PYTHON) is older; say which: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV): a few minutes, once"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,iqa,dev]'
	@touch $(READY)

quickstart: $(READY)  ## a complete study on embedded images, three seeds, to a report
	@$(BIN)/srcache quickstart --out srcache-quickstart

check: lint  ## lint, types and the quick unit tests
	@$(MAKE) --no-print-directory -j2 types quick-tests

quick-tests: $(READY)
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not medium and not slow and not gpu and not network" $(LONG:%=--ignore %)

lint: $(READY)  ## ruff
	@$(BIN)/ruff check .

types: $(READY)  ## mypy --strict
	@$(BIN)/mypy srcache cli plugins

test: $(READY) lint types  ## lint, types and all tests but the slow ones: what .ci/run runs
	@$(BIN)/python -m pytest -n 3 --dist worksteal

test-slow: $(READY)  ## the long tests: faults, scale, complete studies, browsers
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

bench: $(READY)  ## the speed and memory bars; appends to benchmarks/history.csv
	@$(BIN)/python -m benchmarks

clean:  ## remove what the targets made
	rm -rf $(VENV) build dist *.egg-info srcache-quickstart .pytest_cache .mypy_cache .ruff_cache .hypothesis
