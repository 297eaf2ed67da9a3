# Verbs: demo test check bench docs results figures gallery matrix newest lock clean. Each uses the environment .venv, made when
# missing or out of date, from the exact versions of requirements.lock.
PYTHON ?= python3
TORCH ?= torch==2.13.0
LOCKED_TORCH := torch==2.13.0
LOCKED_PYTHONS := 3.10 3.11 3.12 3.13
# With another torch, what torch itself pins is left to it.
UNLOCKED := $(if $(filter $(LOCKED_TORCH),$(TORCH)),^$$,^(triton|setuptools)==)
PIP := .venv/bin/python -m pip install --quiet --constraint .venv/constraints.txt
BIN := .venv/bin
NATIVE := $(shell find csrc -type f) setup.py pyproject.toml requirements.lock
# What decides the native build besides these files: where it is not what .venv was built with, it is built again.
BUILD := $(strip $(INTERACT_CUDA) $(INTERACT_CUDA_ARCHS) $(CUDA_HOME) $(shell command -v nvcc))
export OMP_WAIT_POLICY ?= passive
export TOKENIZERS_PARALLELISM ?= false
export INTERACT_WERROR ?= 1

.PHONY: demo test check bench docs results figures gallery matrix newest lock clean

ifneq ($(BUILD),$(strip $(shell cat .venv/build 2>/dev/null)))
.PHONY: .venv/.ready
endif

.venv: .venv/.ready
.venv/.ready: $(NATIVE)
	@test -x $(BIN)/python && chosen=$(BIN)/python || chosen="$(PYTHON)"; "$$chosen" -c "import sys; \
	    here = '%d.%d' % sys.version_info[:2]; here in '$(LOCKED_PYTHONS)'.split() or sys.exit( \
	    'requirements.lock was made for Python $(LOCKED_PYTHONS), but ' + sys.executable + ' is ' + here + \
	    ': say make PYTHON=python3.X with one of these, after make clean where .venv is there.')"
	test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	grep -Ev "$(UNLOCKED)" requirements.lock > .venv/constraints.txt
	$(PIP) --upgrade pip
	$(PIP) "$(TORCH)" "setuptools>=77" "pybind11>=2.13"
	$(PIP) --no-build-isolation --editable ".[dev,embedded,fuzz,sparse,study,triton]"
	echo "$(BUILD)" > .venv/build
	touch $@

# DEMO=--quick makes a very small study.
demo: .venv
	$(BIN)/python -m interact demo $(DEMO)

test: .venv
	$(BIN)/python -m interact fetch smollm2 minilm reviews
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --durations 25

check: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	find csrc tests/csrc -name '*.cpp' -o -name '*.cu' -o -name '*.h' | xargs $(BIN)/clang-format --dry-run -Werror

bench: .venv
	$(BIN)/python -m bench

docs: .venv
	$(BIN)/python docs/build.py

# From the tables in docs/results/.
results: .venv
	$(BIN)/python docs/results.py

# The pictures of docs/pictures.md, from stored tables; those that are up to date stay.
figures: .venv
	$(BIN)/python docs/figures.py

# The output and the pictures of docs/gallery/, by running its pages.
gallery: .venv
	$(BIN)/python -m interact fetch smollm2 minilm
	$(BIN)/python docs/gallery.py

matrix: .venv
	$(BIN)/python -m tests.matrix

newest: .venv
	$(BIN)/python -m tests.matrix newest-hub

# torch and what it brings for GPUs are chosen by TORCH, so they are not in the lock.
lock: .venv
	printf '%s\n' "$(LOCKED_TORCH)" pip | $(BIN)/uv pip compile - pyproject.toml --all-extras --universal --upgrade \
	    --python-version 3.10 --no-config --default-index https://pypi.org/simple --no-header --no-annotate --quiet \
	    --output-file build/lock.txt
	( echo "# Exact versions for Python $(LOCKED_PYTHONS) on Linux beside $(LOCKED_TORCH), made by \`make lock\`." ; \
	    grep -Ev '^(torch|nvidia-.*|cuda-.*)==' build/lock.txt ) > requirements.lock

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis kernels/interact_kernels/*.so
