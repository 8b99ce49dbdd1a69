# `make demo` tries it out, `make test` checks it; both set up everything that they need, given python3.
# Another interpreter, environment or number of test processes: make test PYTHON=python3.12 VENV=.venv-312 JOBS=4

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --prefer-binary

.PHONY: demo test clean
.DELETE_ON_ERROR:

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -c constraints.txt -e '.[demo,dev]'
	touch $@ $(VENV)/.demo

# One thread: on two cores that anything else uses too, two threads mostly wait for each other.
demo: export OMP_NUM_THREADS ?= 1
demo: $(VENV)/.demo
	@echo; echo "1 of 2: plain fine-tuning"
	@$(BIN)/ftreg fit --config experiments/base.yaml --config experiments/quickstart.yaml \
	  --trainer.default_root_dir runs/demo/plain
	@echo; echo "2 of 2: the same with Mixout"
	@$(BIN)/ftreg fit --config experiments/base.yaml --config experiments/quickstart.yaml \
	  --config experiments/mixout/mixout.yaml --trainer.default_root_dir runs/demo/mixout

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

clean:
	rm -rf $(VENV) build dist runs .mypy_cache .pytest_cache .ruff_cache
