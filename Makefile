# Every target runs in a virtual environment, which is built when it is missing and built anew when setup.py or its
# file of constraints/ has changed, or when the checkout has moved.
#     make test PYTHON=python3.12      with this interpreter
#     make test VENV=.venv-3.12        in another environment
#     make test PYTHON=python3.9 VENV=.venv-oldest LOCK=constraints/oldest.txt    at these versions
#     make demo ARGS='--seed 1'        arguments for the program that the target runs

VENV ?= .venv
PYTHON ?=
LOCK ?=
ARGS ?=
# Two test processes with one thread each: mxnet's own threads gain nothing on networks of test size.
JOBS ?= 2
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
CONSUMERS ?= .venv-consumers
PYTEST := OMP_NUM_THREADS=1 MXNET_CPU_WORKER_NTHREADS=1 $(PY) -m pytest -q -n $(JOBS) --dist worksteal
unexport PYTHONPATH PYTHONHOME

version = $(shell $(1) -c 'import sys; print(sys.version_info[:2])' 2>/dev/null)
HELD := $(call version,$(PY))
WANTED := $(if $(PYTHON),$(call version,$(PYTHON)),$(or $(HELD),some))
ifneq ($(WANTED) $(CURDIR),$(HELD) $(shell cat $(INSTALLED) 2>/dev/null))
.PHONY: $(INSTALLED)
endif

.PHONY: help demo docs bench test test-slow test-browser test-torch test-consumers test-all campaigns lint format clean

help:  ## list the targets (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED)  ## train on real faces, verify on unseen people; the results are left in runs/demo
	@$(PY) -m recognition demo --overwrite $(ARGS)

docs: $(INSTALLED)  ## draw the pictures in docs/
	@for name in r100 d121 xception; do $(PY) -m recognition plot $$name -o docs/$$name.svg --overwrite || exit; done
	@$(PY) tools/write_tables.py

bench: $(INSTALLED)  ## install PyTorch and pnnx, measure beside them, and write docs/benchmarks.md (an hour)
	@$(PY) -m pip install -qq --disable-pip-version-check torch onnxscript -c constraints/extra.txt
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps pnnx -c constraints/extra.txt
	@for suite in embed train data memory startup; do \
		$(PY) tools/benchmark.py $$suite --markdown docs/benchmarks.md $(ARGS) || exit; done

test: $(INSTALLED)  ## run the tests, without the slow ones
	@$(PYTEST) -m 'not slow and not browser and not torch' $(ARGS)

test-slow: $(INSTALLED)  ## run the slow tests alone
	@$(PYTEST) -m 'slow and not browser and not torch' $(ARGS)

test-browser: $(INSTALLED)  ## install Chromium if there is none (as root), and test the web page in it
	@bash .ci/get-browser
	@$(PY) -m pip install -qq --disable-pip-version-check playwright -c constraints/extra.txt
	@$(PYTEST) -m browser $(ARGS)

test-torch: $(INSTALLED)  ## install PyTorch and pnnx, and test with them (several GB where pip finds no CPU build)
	@$(PY) -m pip install -qq --disable-pip-version-check torch onnxscript pnnx -c constraints/extra.txt
	@$(PYTEST) -m torch $(ARGS)

test-consumers: $(INSTALLED) $(CONSUMERS)/.installed  ## test exported files in other programs, in an environment of theirs
	@models=$$(mktemp -d) && trap 'rm -rf "$$models"' EXIT && \
		$(PY) -W ignore -m tests.consumers.write_models "$$models" && \
		$(PY) -W ignore -m tests.consumers.write_keras "$$models" && \
		HOME="$$models" CONSUMER_MODELS="$$models" KERAS_BACKEND=torch OMP_WAIT_POLICY=PASSIVE $(CONSUMERS)/bin/python -m pytest -q \
			--confcutdir=tests/consumers -p no:cacheprovider tests/consumers $(ARGS)

test-all: $(INSTALLED)  ## run every test but those that need a browser, PyTorch or pnnx
	@$(PYTEST) -m 'not browser and not torch' $(ARGS)

campaigns: $(INSTALLED)  ## search for faults with mutated files, kills, full disks, planted mistakes and threads (a day)
	@for name in mutation kills disk_full mutants soak; do \
		OMP_NUM_THREADS=1 $(PY) -W ignore -m tests.campaigns.$$name $(ARGS) || exit; done

lint: $(INSTALLED)  ## check style, formatting and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

format: $(INSTALLED)  ## put the code into the project's format
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

clean:  ## remove the virtual environments, builds and caches (runs, data sets and models stay)
	@rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find config symbols recognition tools examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): setup.py $(or $(LOCK),$(wildcard constraints/python*.txt))
	@bash .ci/build-venv '$(VENV)' '$(PYTHON)' $(LOCK)

# Without what onnx2torch, insightface and uniface ask for and do not use here.
$(CONSUMERS)/.installed: tests/consumers/constraints.txt | $(INSTALLED)
	@$(PY) -m venv --clear $(CONSUMERS)
	@$(CONSUMERS)/bin/python -m pip install -qq --disable-pip-version-check -c $< \
		torch keras onnx onnxruntime openvino ncnn MNN opencv-python-headless scikit-image pytest
	@$(CONSUMERS)/bin/python -m pip install -qq --disable-pip-version-check -c $< --no-deps \
		insightface uniface onnx2torch pnnx
	@touch $@
