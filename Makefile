PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run demo test check format stores contract lock clean

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# PORT, DATA_DIR and every other setting pass through the environment: make run PORT=9000
run: .venv/.run ## Serve on 127.0.0.1:8080 with embedded stores; prints the first administrator
	@exec $(BIN)/inventory-api serve --setup

demo: .venv/.run ## Fill the store with 12 categories, 20 suppliers and 500 products
	@exec $(BIN)/inventory-api demo

test: .venv/.dev ## Run every test: on the embedded stores, and on real ones where installed
	@tests/run.sh

check: .venv/.dev ## Format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/inventory-api openapi --check

format: .venv/.dev ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

contract: .venv/.run ## Write openapi.yaml anew from the code
	$(BIN)/inventory-api openapi

stores: .venv/.dev ## Start MariaDB, a MongoDB-protocol server and Redis for work by hand
	@tests/stores/install.sh
	@exec $(BIN)/python -m tests.stores

lock: .venv/.dev ## Resolve the dependencies anew
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile $(LOCK_OPTIONS) --extra build --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile $(LOCK_OPTIONS) --extra build --extra dev --output-file requirements-dev.lock pyproject.toml

clean: ## Remove the environment and caches; data stays
	rm -rf .venv .stores .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

# Registries and machines differ: the lock names versions and hashes, never where they came from.
LOCK_OPTIONS := --quiet --upgrade --strip-extras --allow-unsafe --generate-hashes \
	--no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-annotate

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "Preparing .venv, once; it takes a minute."
	@$(PYTHON) -m venv .venv

.venv/.run: requirements.lock pyproject.toml | .venv/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: requirements-dev.lock pyproject.toml | .venv/.run
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
