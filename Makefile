# `make demo` and `make test` need nothing but Python >= 3.11 (PYTHON=... picks one).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := runs/demo

.PHONY: demo test fuzz lint format clean

$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tvrl_jax needs Python >= 3.11; say PYTHON=/path/to/python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

demo: $(READY)
	$(BIN)/python train.py --config=configs/demo.py --workdir=$(DEMO)
	$(BIN)/python probe.py --config=configs/probe_demo.py --checkpoint=$(DEMO) --workdir=$(DEMO)

test: $(READY)
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=8 --dist=loadfile --no-loadscope-reorder

# Damaged and hostile inputs, many more than the tests draw; those that do harm are kept.
fuzz: $(READY)
	JAX_PLATFORMS=cpu $(BIN)/python -m tests.fuzz --inputs=12000 --keep=runs/fuzz

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(DEMO) .pytest_cache .ruff_cache
