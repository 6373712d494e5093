# The project's commands. `make demo` and `make test` are the two a newcomer needs.
# Needs: Python 3.11, 3.12 or 3.13, make, git; npm only for the tests that run against anvil.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One OpenMP thread: small predictions are slower, and their tail far worse, on several.
export OMP_NUM_THREADS := 1
export ETH_HASH_BACKEND := pysha3

.PHONY: help demo test test-long check format lock bench clean env anvil drills rehearsal chaos package sbom audit

help: ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

env: $(VENV)/.ready ## Build the environment from the locked, hashed requirements

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python 3.11, 3.12 or 3.13 is needed, this is {v[0]}.{v[1]}. Name another with: make PYTHON=python3.12 ...")'
	@echo "Building the environment (about a minute, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@# pip compiles what it installs: without bytecode each start would cost seconds more.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q agent contracts models relayer
	@touch $@

anvil: node_modules/.bin/anvil ## Install the anvil node that some tests run against

node_modules/.bin/anvil: package.json package-lock.json
	@command -v npm >/dev/null || { echo "npm is needed for the tests against anvil (Debian: apt-get install npm)"; exit 1; }
	@# `npm ci` would want every platform's optional package; the lock's integrity holds here as well.
	@npm install --no-save --silent --no-audit --no-fund && touch $@

demo: env ## Run the main story on the embedded chain and exchanges (about two minutes)
	@$(BIN)/aml demo

test: env ## Run the tests
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory anvil; else echo "npm is absent: tests against anvil will be skipped"; fi
	@$(BIN)/python -m pytest -n 3 --dist loadfile -rs -m "not long" --durations=20 --durations-min=10

test-long: env ## Run the long tests as well (not in CI)
	@$(BIN)/python -m pytest -m long

check: env ## What CI checks beside the tests: format, lint, types, contract artifacts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m contracts.artifacts --check

format: env ## Format the sources
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

drills: env anvil ## Provoke every alert on running processes, follow its runbook, and write docs/drills.md
	@$(BIN)/python -m tests.operations.drills

rehearsal: env anvil ## Follow the operators' guide from an empty server to the end, in a layer over this machine (root)
	@$(BIN)/python -m tests.operations.guide

chaos: env anvil ## Deliver 2,000 decisions through deaths, rollbacks and a lying endpoint; print what became of each
	@$(BIN)/python -m benchmarks.chaos

bench: env anvil ## Run the benchmarks and print their tables
	@$(BIN)/python -m benchmarks.gas
	@$(BIN)/python -m benchmarks.latency
	@$(BIN)/python -m benchmarks.delivery

lock: env ## Resolve the requirements again and write the locks
	@command -v uv >/dev/null || { echo "uv is needed to resolve the lock (pip install uv)"; exit 1; }
	@uv pip compile pyproject.toml --extra local --extra research --extra postgres --extra aws --extra tracing --extra dev --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --prerelease if-necessary-or-explicit -o requirements/dev.txt --quiet
	@# What an operator installs is a part of it, version for version.
	@printf 'build>=1.3\nsetuptools>=80\n' | uv pip compile - --constraint requirements/dev.txt --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -o requirements/build.txt --quiet
	@uv pip compile pyproject.toml --extra local --extra postgres --extra aws --extra tracing --constraint requirements/dev.txt --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --prerelease if-necessary-or-explicit -o requirements/run.txt --quiet

package: env ## Build sdist and wheel reproducibly into dist/, install the wheel in an empty environment, use it
	@.ci/package dist

sbom: env ## Write the bill of materials of what an operator installs (CycloneDX) into dist/
	@mkdir -p dist
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml --of JSON -o dist/sbom.cdx.json requirements/run.txt
	@echo "dist/sbom.cdx.json: $$(grep -c '"bom-ref"' dist/sbom.cdx.json) references"

audit: env ## Look for known vulnerabilities in what an operator installs; 3: advisories could not be read
	@$(BIN)/python .ci/audit.py requirements/run.txt

clean: ## Remove the environment and the caches
	@rm -rf $(VENV) node_modules .mypy_cache .ruff_cache .hypothesis build dist
