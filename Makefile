# `make demo` and `make test` need Python 3.11 or newer and nothing else; they install the rest into .venv.
PYTHON ?= python3
VENV := .venv

.PHONY: demo test check fuzz clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[bench,report,dev]"
	touch $@

demo: $(VENV)/installed
	$(VENV)/bin/python -m presage.bench.demo samples/kodim23.png demo

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest

check: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python docs/results.py --check

# SECONDS of fuzzing; what must not happen is kept in the folder finds
SECONDS ?= 600
fuzz: $(VENV)/installed
	$(VENV)/bin/python tests/fuzz/run.py --seconds $(SECONDS)

clean:
	rm -rf $(VENV) build dist demo presage.egg-info
