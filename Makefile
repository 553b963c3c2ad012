# Everything starts here: `make demo` and `make test` need Python 3.11 or newer and nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

BIN := .venv/bin
CORES := $(shell nproc 2>/dev/null || echo 2)
# Each test process may hold a network; four of them fit in 8 GB.
JOBS ?= $(shell n=$(CORES); echo $$(( n > 4 ? 4 : n )))
# Side of the scenes of `make bench`, measurements of each setting, torch's threads (empty: its own).
SIZE ?= 4096
REPEAT ?= 5
THREADS ?=
PACKAGES := lanner server postprocess detectors tiling
CHECKED := $(wildcard $(PACKAGES) scripts benchmarks tests hatch_build.py)

# Another GIS on the machine must not lend its data files, nor another Python its modules.
unexport GDAL_DATA GDAL_DRIVER_PATH GDAL_CONFIG_FILE GDAL_SKIP PROJ_LIB PROJ_DATA PROJ_NETWORK
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONHASHSEED PYTEST_ADDOPTS VIRTUAL_ENV
unexport LANNER_HOME

.PHONY: help setup demo test test-system check lint types imports generated unit bench bench-gpu peers peers-lock accept proto lock clean distclean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: ## Make .venv from requirements.lock (done once, and again when the lock changes)
	@scripts/bootstrap.sh

demo: setup ## Render a scene, find its aircraft and roads, write features and pictures to demo/
	@$(BIN)/lanner demo --out demo

test: check unit ## Lint, types, import directions, then every test

check: lint types imports generated

lint: setup ## Ruff
	@$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check --quiet $(CHECKED)

types: setup ## mypy --strict on the five packages
	@$(BIN)/mypy

imports: setup ## Imports run downward only
	@$(BIN)/lint-imports --no-logo

generated: setup ## lanner/v1 is what proto/ says
	@$(BIN)/python scripts/gen_proto.py --check

unit: check ## The tests alone, after the checks; ARGS="-k name" chooses
	@OMP_NUM_THREADS=$$(( $(CORES) > $(JOBS) ? $(CORES) / $(JOBS) : 1 )) \
		$(BIN)/pytest -n $(JOBS) --dist loadfile --ignore tests/system $(ARGS)

test-system: setup ## Tests that need QGIS, Chromium, PostgreSQL, Node, curl and jq (Debian: qgis python3-qgis qgis-providers chromium postgresql nodejs npm curl jq)
	@$(BIN)/pytest tests/system $(ARGS)

accept: setup ## What a user sees, end to end: demo, stop and resume, server and client
	@LANNER_FULL=1 $(BIN)/pytest tests/archives tests/cli tests/inference tests/server tests/synth $(ARGS)

bench: setup ## Speed and memory on this machine, beside peers where `make peers` was run; SIZE=8192 REPEAT=5
	@$(BIN)/python benchmarks/run.py --size $(SIZE) --repeat $(REPEAT) $(if $(THREADS),--threads $(THREADS))

bench-gpu: setup ## Tests of kernels, their speed and that of the detectors on a CUDA device
	@$(BIN)/python benchmarks/run.py --device cuda --size $(SIZE) --repeat $(REPEAT)

peers: setup ## Make .venv-peers with the libraries that `make bench` compares with
	@$(BIN)/python -m uv --no-config venv --quiet --clear --python $(BIN)/python .venv-peers
	$(BIN)/python -m uv --no-config pip install --quiet --python .venv-peers/bin/python \
		$(if $(LANNER_INDEX),--default-index $(LANNER_INDEX)) --requirement benchmarks/peers/requirements.txt

peers-lock: setup ## Pin the newest peers that go with requirements.lock
	@$(BIN)/python -m uv --no-config pip compile --universal --python-version 3.11 --upgrade \
		--constraint requirements.lock --no-header --no-annotate --quiet \
		benchmarks/peers/requirements.in --output-file benchmarks/peers/requirements.txt

proto: setup ## Regenerate lanner/v1 from proto/
	@$(BIN)/python scripts/gen_proto.py

lock: setup ## Pin the newest releases that pyproject.toml admits
	@$(BIN)/python -m uv --no-config pip compile --universal --python-version 3.11 --extra dev --extra factory --extra ray --extra postgres \
		--upgrade --no-header --no-annotate --quiet pyproject.toml --output-file requirements.lock

clean: ## Remove what was generated, but no environment
	@rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(wildcard $(PACKAGES) tests scripts benchmarks) -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove .venv and .venv-peers too
	@rm -rf .venv .venv-peers
