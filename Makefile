# `make` lists what there is to do; every target first makes the environment, when it is missing or out of date.
PYTHON ?= python3
# Installed before all else, so that nothing pulls in another build; README tells how to choose the CPU one.
# Of thousands of modules few are ever imported: these compile themselves then.
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
COLLECTION ?= collection
EVIDENCE ?= evidence
export OMP_NUM_THREADS ?= 1
# The tests start hundreds of processes, which would compile all that they import if nobody kept what was compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo collect test lowest evidence check docs format

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed  ## Make .venv with all that development needs

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile $(TORCH)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python $(RESOLUTION) --editable '.[dev]'
	touch $@

demo: install  ## Segment brain slices from six labelled ones; the picture is demo/result/overlay.png
	$(BIN)/incontext demo --out demo

collect: install  ## Import all tests, so that what they import is compiled once and not in each of their processes
	@said=$$($(BIN)/python -m pytest --collect-only --quiet) || { echo "$$said"; exit 1; }

test: install $(filter collect,$(MAKECMDGOALS))  ## Run all tests
	$(BIN)/python -m pytest -n 2 --dist=loadgroup --durations=40

# Old versions are warned of what newer ones do that they were not made for: there, warnings are no errors.
lowest:  ## Run all tests on the lowest versions that pyproject.toml allows, in an environment of their own
	$(MAKE) install VENV=.venv-lowest RESOLUTION='--resolution lowest-direct'
	.venv-lowest/bin/python -m pytest -n 2 --dist=loadgroup -W default

evidence: install  ## Make the figures of README and docs anew, from COLLECTION, ANNOTATED, FILMS, DATA and SCRIBBLES; QUICK=1 shows that it works
	$(BIN)/incontext-bench evidence --collection $(COLLECTION) \
	    $(if $(ANNOTATED),--annotated $(ANNOTATED)) $(if $(FILMS),--films $(FILMS)) $(if $(DATA),--data $(DATA)) \
	    $(if $(SCRIBBLES),--scribbles $(SCRIBBLES)) $(if $(QUICK),--quick) --out $(EVIDENCE)$(if $(QUICK),-quick)

check: install  ## Lint, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: install  ## Build the pages of docs/ in build/docs; a warning is an error
	$(BIN)/python -m sphinx --fail-on-warning --quiet docs build/docs

format: install  ## Format, and fix what lint can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
