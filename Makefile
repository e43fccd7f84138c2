# make demo      from nothing to real recommendations: environment, training, export, server
# make test      lint, unit and integration tests (the real tritonserver), on all cores
# make test-fast lint and the quick unit tests: an answer while you write
# make test-all  make test, and the sweeps: the same checks over every architecture, engine and step
# make test-gpu  tests and a benchmark that need an NVIDIA GPU and the package tensorrt; both skip
#                elsewhere, saying why
# make perf      the benchmark beside its peers, on what make demo made
# make lint      ruff and mypy alone
# make docs      the pages as a site, build/site/index.html; a broken link is an error
# make clean     removes everything that the other targets made, but the fetched data

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
# One worker more than there are cores: tests that start a server wait for it. A test file stays with
# one worker, so that what its tests share is made once; the long ones, of tests/integration, come
# first, so that no worker ends with them alone.
WORKERS := $(shell $(PYTHON) -c "import os; print((os.cpu_count() or 1) + 1)")
# Bytecode is kept even where the shell forbids it: each worker imports every test file.
PYTEST := PYTHONDONTWRITEBYTECODE= $(RUN) pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 15
SLOW := builder/classifier builder/export builder/reports builder/training perf # these train and compile

.PHONY: demo test test-fast test-all test-gpu perf lint docs clean

demo: $(VENV)/installed
	$(RUN) builder demo

test: lint
	$(PYTEST) -m "not gpu and not sweep"

test-fast: lint
	$(PYTEST) -m "not gpu and not sweep" tests/unit $(SLOW:%=--ignore tests/unit/%)

test-all: test
	$(PYTEST) -m sweep

perf: $(VENV)/installed
	$(RUN) perf run

test-gpu: $(VENV)/installed
	$(RUN) pytest -m gpu tests/gpu
	$(RUN) perf engines --target tensorrt

lint: $(VENV)/installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

docs: $(VENV)/installed
	$(RUN) mkdocs build

clean:
	rm -rf $(VENV) runs repository build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --constraint constraints.txt --editable '.[builder,evaluation,embedded,openvino,perf,tensorrt-rtx,tune,lora,safety,play,docs,dev]'
	touch $@
