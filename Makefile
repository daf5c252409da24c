PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo monitor bench soak fuzz lint check test test-all docs components

ROUNDS ?= 5
MINUTES ?= 10
SECONDS ?= 30
# Processes that run tests: two per core of a small machine, since most tests often wait.
WORKERS ?= 4

PINNED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
INSTALL := $(PINNED) $(BIN)/pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=worksteal

setup: .venv/with-dev ## make .venv with everything that development needs

.venv/with-edge: pyproject.toml constraints.txt hatch_build.py npm/package.json npm/package-lock.json
	@echo "Installing Playgate into .venv (about 120 MB)"
	$(PYTHON) -m venv .venv
	$(INSTALL) -e .
	touch $@

.venv/with-dev: .venv/with-edge
	@echo "Installing the development tools into .venv (about 800 MB more)"
	$(INSTALL) -e '.[dev]'
	touch $@

demo: .venv/with-edge ## run the edge in front of a sandbox Dailymotion
	$(BIN)/playgate demo

monitor: setup components ## run an edge under load, and print what the dashboard would show
	$(BIN)/python tests/monitor.py

bench: setup components ## measure the edge's cost relative to minimal baselines
	PYTHONPATH=tests $(BIN)/python -m bench --rounds $(ROUNDS)

soak: setup components ## run an edge under load, inject one fault after the other, and plot its resources
	PYTHONPATH=tests $(BIN)/python -m faults --minutes $(MINUTES)

fuzz: setup ## fuzz each parser of untrusted input for SECONDS seconds
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: setup ## write docs/settings.md and docs/hls-rules.md
	$(BIN)/python docs/generate_settings.py
	$(BIN)/python docs/generate_hls_rules.py

components: setup
	sh tests/components.sh

# The markers depend on the folder of a test; see tests/conftest.py.
check: lint ## lint, and run the fast tests
	$(PYTEST) -m "not integration and not system"

test: components lint ## add the tests of adapters, commands and docs, and one test with each real program
	$(PYTEST) -m "not system or smoke" --cov

test-all: test ## run every test: all players, faults, alerts and images
	$(PYTEST) -m "system and not smoke" --ignore=tests/bench
	$(BIN)/python -m pytest tests/bench # alone, because it needs both cores
