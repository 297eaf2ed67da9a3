# Verbs: demo test check bench docs clean. Each uses the environment .venv, made when missing or out of date.
PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin
NATIVE := $(shell find csrc -type f) setup.py pyproject.toml
export OMP_WAIT_POLICY ?= passive
export TOKENIZERS_PARALLELISM ?= false
export INTERACT_WERROR ?= 1

.PHONY: demo test check bench docs clean

.venv: .venv/.ready
.venv/.ready: $(NATIVE)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[dev,embedded,fuzz,triton]"
	touch $@

demo: .venv
	$(BIN)/interact demo --out runs/demo

test: .venv
	$(BIN)/interact fetch smollm2 reviews
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

check: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	find csrc tests/csrc -name '*.cpp' -o -name '*.cu' -o -name '*.h' | xargs $(BIN)/clang-format --dry-run -Werror

bench: .venv
	$(BIN)/python -m bench

docs: .venv
	$(BIN)/python docs/build.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis kernels/interact_kernels/*.so
