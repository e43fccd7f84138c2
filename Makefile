# make demo      from nothing to real recommendations: environment, training, export, server
# make test      lint, unit and integration tests (the real tritonserver)
# make test-gpu  tests and a benchmark that need an NVIDIA GPU and the package tensorrt; both skip
#                elsewhere, saying why
# make perf      the benchmark beside its peers, on what make demo made
# make lint      ruff and mypy alone
# make clean     removes everything that the other targets made, but the fetched data

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m

.PHONY: demo test test-gpu perf lint clean

demo: $(VENV)/installed
	$(RUN) builder demo

test: lint
	$(RUN) pytest

perf: $(VENV)/installed
	$(RUN) perf run

test-gpu: $(VENV)/installed
	$(RUN) pytest -m gpu tests/gpu
	$(RUN) perf engines --target tensorrt

lint: $(VENV)/installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

clean:
	rm -rf $(VENV) runs repository build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --constraint constraints.txt --editable '.[builder,evaluation,embedded,openvino,perf,tensorrt-rtx,tune,lora,dev]'
	touch $@
