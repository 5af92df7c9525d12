# What a person or CI calls. `make help` lists it.
# Plain GNU make 3.81 (macOS) and newer; needs Python >= 3.11, make and git, nothing else.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/twin-tools
UV_VERSION := 0.9.7
STACK := tests/services/stack
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
COMPILE = $(CACHE)/uv-$(UV_VERSION)/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-header
# For pytest: make unit ARGS='-k sink -x'
ARGS :=
# All of the code that the checks read.
CODE := streams tests

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint unit coverage properties integration test-services services services-stop \
	bench soak lock format secrets clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with `twin` in it; done once for each change of requirements.lock

# An environment that was made by the same Python is brought up to date in place: it may be in use.
# The lock is whole, so nothing is resolved (--no-deps): pip would otherwise look for the newest release of what a
# package asks for with an extra, and stop at one that is newer than the lock.
$(STAMP): requirements.lock pyproject.toml
	@python=; \
	for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
		if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then \
			python="$$candidate"; break; \
		fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "make setup: needs Python 3.11 to 3.14 as python3 or python3.N; found $$(python3 --version 2>&1 || true)." >&2; \
		echo "  Install one, or name it: make setup PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi; \
	version=$$("$$python" --version); \
	if [ "$$($(BIN)/python --version 2>/dev/null)" != "$$version" ]; then \
		echo "setup: $$version makes $(VENV)"; \
		"$$python" -m venv --clear $(VENV) || { \
			rm -rf $(VENV); \
			echo "make setup: $$python cannot make a virtual environment (Debian: apt-get install python3-venv)." >&2; \
			exit 1; \
		}; \
	fi
	@echo "setup: installing what requirements.lock names (about a minute when nothing is cached)"
	@$(PIP) install --no-deps --require-hashes -r requirements.lock
	@PYTHONWARNINGS=ignore $(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
	@echo "setup: done; the command is $(BIN)/twin"

demo: setup ## Start the whole twin on this machine, with nothing else installed
	@$(BIN)/twin up --demo

test: lint coverage integration ## Everything that needs no server: lint, types, imports, unit and integration tests

lint: setup ## Style, types and the direction of imports
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: setup ## Unit tests
	$(PYTEST) tests/unit $(ARGS)

coverage: setup ## Unit tests, and whether they reach all branches of streams/domain
	$(PYTEST) tests/unit --cov $(ARGS)

properties: setup ## The twin beside the slow model, on 2,000 logs for each property
	HYPOTHESIS_PROFILE=thorough $(PYTEST) tests/unit/test_twin_properties.py \
		tests/unit/test_world_properties.py tests/unit/test_overlay_properties.py --timeout 0 $(ARGS)

integration: setup ## Tests on the embedded broker
	$(PYTEST) tests/integration $(ARGS)

services: ## Start real Kafka, Prometheus and the history stores; then: . .services/env && .venv/bin/twin up
	python3 $(STACK) start

services-stop: ## End them
	python3 $(STACK) stop

# Ends only what it started: services that ran before go on.
test-services: setup ## Tests on real Kafka, Prometheus and the history stores
	@if python3 $(STACK) status >/dev/null 2>&1; then \
		echo "test-services: the services run already and will be left running"; \
	else \
		trap 'python3 $(STACK) stop' EXIT; \
		trap 'exit 130' INT; trap 'exit 143' TERM; \
		python3 $(STACK) start || exit 1; \
	fi; \
	. .services/env && $(PYTEST) tests/services -m "not soak" $(ARGS)

bench: setup ## Measure; writes docs/figures.md (against real Kafka: . .services/env first)
	$(BIN)/twin bench

soak: setup ## Long runs on the services: hours, not minutes
	. .services/env && $(PYTEST) tests/services -m soak --timeout 0 $(ARGS)

lock: ## Write the lock files anew from pyproject.toml (newest versions: LOCK_FLAGS=--upgrade)
	@test -x $(CACHE)/uv-$(UV_VERSION)/bin/uv || { \
		python3 -m venv $(CACHE)/uv-$(UV_VERSION) && \
		$(CACHE)/uv-$(UV_VERSION)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	}
	$(COMPILE) --extra dev pyproject.toml -o requirements.lock $(LOCK_FLAGS)
	$(COMPILE) --extra arrow -c requirements.lock pyproject.toml -o requirements.run.lock

format: setup ## Format the code and sort its imports
	$(BIN)/ruff check --fix-only --quiet $(CODE)
	$(BIN)/ruff format $(CODE)

# What is there stays: a .env of an earlier release gets what it lacks.
secrets: ## Make .env with passwords and the API key of its own for docker compose
	@umask 077; python3 -c "import pathlib, secrets; \
		file = pathlib.Path('.env'); \
		lines = file.read_text().splitlines() if file.exists() else []; \
		there = {line.partition('=')[0] for line in lines}; \
		sizes = {'INFLUXDB_PASSWORD': 24, 'INFLUXDB_TOKEN': 48, 'TWIN_INTERNAL_API_KEY': 32}; \
		new = [f'{name}={secrets.token_urlsafe(size)}' for name, size in sizes.items() if name not in there]; \
		new and (file.write_text('\n'.join(lines + new) + '\n'), print('secrets: wrote .env'))"

clean: ## Remove what can be made again (services keep running: make services-stop)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage build *.egg-info
	find streams tests -name __pycache__ -type d -prune -exec rm -rf {} +
