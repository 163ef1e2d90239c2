# kvmdbg: two commands are enough, `make lab` and `make test`. `make help` lists the rest.
# All that is made stays in .venv/, build/ and labextension/node_modules/; only the caches of pip and
# npm are outside.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# What is installed is named by what asked for it: another pyproject.toml, Python or place installs
# anew, a mere `git checkout` does not.
KEY     := $(shell { $(PYTHON) --version; pwd; cat pyproject.toml; } 2>&1 | cksum | cut -d" " -f1)
RUNTIME := $(VENV)/runtime-$(KEY)
TESTING := $(VENV)/testing-$(KEY)

# pip copies the bundle for JupyterLab into the environment, also when it installs an editable
# package. A newer bundle is copied again.
BUNDLE    := kvmdbg/labextension
EXTENSION := $(VENV)/extension-$(KEY)-$(shell find $(BUNDLE) -type f -exec cksum {} + 2>/dev/null | sort | cksum | cut -d" " -f1)
INSTALLED := $(VENV)/share/jupyter/labextensions/kvmdbg-lab

# Jupyter, IPython and matplotlib keep their files in the checkout, not in the user's home.
STATE := $(CURDIR)/build/state
export JUPYTER_CONFIG_DIR       := $(STATE)/jupyter/config
export JUPYTER_DATA_DIR         := $(STATE)/jupyter/data
export JUPYTER_RUNTIME_DIR      := $(STATE)/jupyter/runtime
export JUPYTERLAB_WORKSPACES_DIR := $(STATE)/jupyter/workspaces
export JUPYTER_PLATFORM_DIRS    := 1
export IPYTHONDIR               := $(STATE)/ipython
export MPLCONFIGDIR             := $(STATE)/matplotlib
export PIP_DISABLE_PIP_VERSION_CHECK := 1

TOUR     := notebooks/00-tour.ipynb
LAB_ARGS := $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.PHONY: help lab labextension test lint types imports frontend pytest system bench bench-labs \
  bench-ui screenshots clean
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 20

ifdef HEADLESS
lab: $(RUNTIME) | $(STATE) ## JupyterLab on notebooks/; HEADLESS=1 runs the tour into build/00-tour.html
	@$(BIN)/jupyter nbconvert --log-level=WARN --KernelManager.transport_encryption=auto \
	  --execute --ExecutePreprocessor.timeout=300 --ExecutePreprocessor.store_widget_state=False \
	  --to html --embed-images \
	  --output-dir build $(TOUR)
	@echo "kvmdbg: the tour ran from top to bottom; see build/00-tour.html"
else
lab: $(RUNTIME) $(EXTENSION) | $(STATE)
	$(BIN)/jupyter lab $(LAB_ARGS) --ServerApp.root_dir=notebooks \
	  --LabApp.default_url=/lab/tree/$(notdir $(TOUR)) $(ARGS)
endif

test: lint types imports frontend pytest ## everything that the CI checks

lint: $(TESTING)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(TESTING)
	$(BIN)/mypy

imports: $(TESTING)
	$(BIN)/lint-imports --cache-dir build/import-linter

frontend: $(TESTING)
	@bash .ci/frontend check $(BIN)

labextension: $(TESTING) ## build the committed bundle for JupyterLab from its sources; needs node
	@bash .ci/frontend build $(BIN)

pytest: $(TESTING) $(EXTENSION) system | $(STATE)
	$(BIN)/pytest --numprocesses=2 --max-worker-restart=0 $(ARGS)

system:
	@bash tests/setup-system.sh

bench: $(RUNTIME) | $(STATE) ## how fast it is, beside its peers
	@bash benchmarks/setup-peers.sh
	$(BIN)/python -m benchmarks

bench-labs: $(TESTING) | $(STATE) ## how long it takes to grade a class
	$(BIN)/python -m benchmarks.labs

bench-ui: $(TESTING) system | $(STATE) ## how fast the page is, in a real browser
	$(BIN)/python -m benchmarks.ui

screenshots: $(TESTING) system | $(STATE) ## the pictures in docs/images, in a real browser
	$(BIN)/python -m tests.browser.screenshots

clean: ## remove all that make made
	rm -rf $(VENV) build dist labextension/node_modules
	find . -name __pycache__ -prune -exec rm -rf {} +

$(STATE):
	@mkdir -p $@

$(RUNTIME):
	@echo "kvmdbg: setting up $(VENV), once: a minute or two"
	@bash .ci/venv "$(PYTHON)" $(VENV)
	@$(BIN)/python -m pip install -qq --editable .
	@touch $@

$(TESTING): $(RUNTIME)
	@echo "kvmdbg: adding the test tools to $(VENV), once"
	@$(BIN)/python -m pip install -qq --editable '.[test]'
	@touch $@

$(EXTENSION): | $(RUNTIME)
	@mkdir -p $(INSTALLED)
	@rm -rf $(INSTALLED)/* $(VENV)/extension-*
	@cp -R $(BUNDLE)/. labextension/install.json $(INSTALLED)/
	@touch $@
