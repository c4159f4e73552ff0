# twinml: every target is one command; `make help` lists them.

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
TWINML  := $(BIN)/twinml

# What `make local`, `make rehearse` and `make azure` work on, for example:
#   make local DATA=file.csv TARGET=y BUDGET=120s ARGS="--split ordered"
DATA    ?=
TARGET  ?=
BUDGET  ?= 60s
ARGS    ?=
AT_ONCE ?= 3
# A checkout of Azure/azureml-examples, for make conformance.
SAMPLES ?=
# The unpacked source archive of azure-ai-ml, for make conformance-sdk.
SDK     ?=
WHAT     = $(if $(DATA),--data "$(DATA)") $(if $(TARGET),--target "$(TARGET)") --budget $(BUDGET) $(ARGS)

# Installing again is needed when a lock changes, not when the code does.
BASE    := $(VENV)/.installed-base
DEV     := $(VENV)/.installed-dev
# Compiled once here, and not in every process where Python may not write what it compiled.
LOCKED   = $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --override requirements/override.in --require-hashes
EDITABLE = $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .

.DEFAULT_GOAL := help
.PHONY: help local rehearse azure check-azure teardown compare data train replay report studio ui status stop test mutants check docs azure-table format lock notebook bench-automl bench-batch bench-cli bench-serving bench-studio bench-estimates screenshots clients dist-emulator conformance conformance-sdk clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

local: $(BASE) ## Run the whole workflow on this machine (DATA=, TARGET=, BUDGET=60s, ARGS=)
	@$(TWINML) run --on local $(WHAT)
	@$(TWINML) open --no-browser

azure: $(DEV) ## Run the same workflow in your Azure ML workspace
	@$(TWINML) run --on azure $(WHAT)

rehearse: $(DEV) ## Run the workflow for Azure against an emulator here, and compare
	@$(TWINML) rehearse $(WHAT)

check-azure: $(DEV) ## Look at what stands in the way of a run on Azure
	@$(TWINML) check --on azure $(ARGS)

teardown: $(DEV) ## Remove what twinml made on Azure, and nothing else
	@$(TWINML) teardown --on azure $(ARGS)

compare: $(DEV) ## Compare this machine's endpoint with Azure's (ARGS="--rows all --adversarial")
	@$(TWINML) compare local azure $(ARGS)

data: $(BASE) ## Check the data and say what is odd (DATA=, TARGET=)
	@$(TWINML) data $(if $(DATA),--data "$(DATA)") $(if $(TARGET),--target "$(TARGET)") $(ARGS)

train: $(BASE) ## Search for a model and register it, no more
	@$(TWINML) train $(WHAT)

replay: $(BASE) ## Show the loop: drift, training, promotion, month by month (ARGS=)
	@$(TWINML) replay $(if $(DATA),--data "$(DATA)") $(if $(TARGET),--target "$(TARGET)") $(ARGS)

report: $(BASE) ## Open the report of the last run
	@$(TWINML) report

studio: $(BASE) ## Open the Studio site: data, jobs, models, endpoints, pipelines
	@$(TWINML) open

ui: $(BASE) ## Open MLflow's pages on runs and models
	@$(TWINML) ui

status: $(BASE) ## Show what is deployed and running
	@$(TWINML) status

stop: ## End what was left running
	@if [ -x $(TWINML) ]; then $(TWINML) stop; fi

test: $(DEV) ## Run all tests, three files at a time (AT_ONCE=3)
	@$(BIN)/python -m pytest --numprocesses $(AT_ONCE) --dist loadfile --no-loadscope-reorder

mutants: $(DEV) ## Change the decision rules and see whether their tests notice (ARGS=drift)
	@$(BIN)/python tests/mutants/run.py $(ARGS)

check: $(DEV) ## Lint, types, import arrows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(DEV) ## Build the documentation into build/site, without a network
	@$(BIN)/zensical build --strict

azure-table: $(DEV) ## Write what Azure takes otherwise into docs/serving.md, by asking its server
	@WRITE_TABLE=1 $(BIN)/python -m pytest -q tests/emulator/test_emulator_serving.py -k flagged; \
	  $(BIN)/python -m pytest -q tests/emulator/test_emulator_serving.py -k flagged

format: $(DEV) ## Format the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench-automl: $(DEV) ## Measure the AutoML against others (takes an hour or more)
	@$(BIN)/python tests/benchmarks/automl.py $(ARGS)

bench-batch: $(DEV) ## Measure batch scoring against the kernel alone (a minute)
	@$(BIN)/python tests/benchmarks/batch.py $(ARGS)

bench-cli: $(DEV) ## Measure CPU seconds and heavy imports of the verbs that only read
	@$(BIN)/python tests/benchmarks/cli.py $(ARGS)

bench-serving: $(DEV) ## Measure the scoring server against others (takes some minutes)
	@$(BIN)/python tests/benchmarks/serving.py $(ARGS)

bench-studio: $(DEV) ## Measure the Studio's pages (ARGS=--many: on a large home, made for it)
	@$(BIN)/python tests/benchmarks/studio.py $(ARGS)

bench-estimates: $(DEV) ## Measure whether the estimate without labels is honest (some minutes)
	@$(BIN)/python tests/benchmarks/estimates.py $(ARGS)

screenshots: $(DEV) ## Take the documents' pictures of the Studio anew, from what is here
	@$(TWINML) evidence --out build/screenshots
	@cp build/screenshots/03-best-model.png docs/images/studio-job.png
	@cp build/screenshots/07-answer.png docs/images/studio-test.png

notebook: $(DEV) ## Open the walkthrough in Jupyter, or execute it into a page where there is none
	@export TWINML_HOME="$${TWINML_HOME:-$(CURDIR)/.twinml}"; \
	if [ -x $(BIN)/jupyter-lab ]; then exec $(BIN)/jupyter lab docs/walkthrough.ipynb; fi; \
	if [ -x $(BIN)/jupyter-notebook ]; then exec $(BIN)/jupyter notebook docs/walkthrough.ipynb; fi; \
	echo "To open it: $(BIN)/pip install jupyterlab, then make notebook. Executing it into $$TWINML_HOME/walkthrough.html …" >&2; \
	$(BIN)/jupyter nbconvert --to html --execute --log-level WARN --ExecutePreprocessor.timeout=-1 \
		--HTMLExporter.mathjax_url= --HTMLExporter.require_js_url= --output-dir "$$TWINML_HOME" docs/walkthrough.ipynb

clients: $(DEV) ## Make docs/clients anew from the bundled data
	@$(TWINML) swagger --data data/bank-full.csv.gz --target y --clients docs/clients

dist-emulator: $(DEV) ## Build the emulator's own distribution into build/
	@$(BIN)/uv build --quiet --wheel --out-dir build local

conformance: $(DEV) ## Measure the emulator with Azure ML's public samples (SAMPLES=checkout ARGS=)
	@$(BIN)/python -m tests.conformance "$(SAMPLES)" $(ARGS)

conformance-sdk: $(DEV) ## Run the Azure SDK's own tests against the emulator (SDK=archive ARGS=)
	@$(BIN)/python -m tests.conformance.sdk_suite "$(SDK)" $(ARGS)

lock: $(DEV) ## Compile the locks anew
	@$(BIN)/python requirements/compile.py

clean: stop ## End what runs and remove everything that twinml made here
	@rm -rf .twinml

$(BIN)/uv: requirements/bootstrap.lock
	@echo "Making $(VENV) …"
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed, found {v.major}.{v.minor}. Name one: make local PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/bootstrap.lock
	@touch $@

$(BASE): $(BIN)/uv requirements/base.lock pyproject.toml
	@echo "Installing packages …"
	@$(LOCKED) --requirement requirements/base.lock
	@$(EDITABLE)
	@$(BIN)/python -m compileall -q shared local azure
	@touch $@

$(DEV): $(BASE) requirements/dev.lock
	@echo "Installing packages for development and Azure …"
	@$(LOCKED) --requirement requirements/dev.lock
	@touch $@
