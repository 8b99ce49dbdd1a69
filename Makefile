# `make demo` tries it out, `make test` checks it; both set up everything that they need, given python3.
# Another interpreter, environment or number of test processes: make test PYTHON=python3.12 VENV=.venv-312 JOBS=4

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --prefer-binary

# Where it is set, every process would compile every library anew: ten seconds each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test clean
.DELETE_ON_ERROR:

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -c constraints.txt -e '.[demo,report]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -c constraints.txt -e '.[demo,dev]'
	touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@echo; echo "1 of 2: plain and two methods, two seeds each"
	@$(BIN)/ftreg bench experiments/grids/demo.yaml --runs runs/demo
	@echo; echo "2 of 2: what came out"
	@$(BIN)/ftreg report runs/demo --out runs/demo-report

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

clean:
	rm -rf $(VENV) build dist runs .mypy_cache .pytest_cache .ruff_cache
