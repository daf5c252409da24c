PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo monitor bench soak fuzz test lint docs components

ROUNDS ?= 5
MINUTES ?= 10
SECONDS ?= 30

PINNED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
INSTALL := $(PINNED) $(BIN)/pip install --quiet --disable-pip-version-check

setup: .venv/with-dev ## make .venv with everything that development needs

.venv/with-edge: pyproject.toml constraints.txt hatch_build.py npm/package.json npm/package-lock.json
	@echo "Installing Playgate into .venv (about 110 MB)"
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

bench: setup components ## measure what the edge costs beside less that does less
	PYTHONPATH=tests $(BIN)/python -m bench --rounds $(ROUNDS)

soak: setup components ## break everything around an edge under load, one after the other, and plot what it holds
	PYTHONPATH=tests $(BIN)/python -m faults --minutes $(MINUTES)

fuzz: setup ## throw bytes at each reader of what others wrote, for so many seconds
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: setup ## write docs/settings.md from the settings schema
	$(BIN)/python docs/generate_settings.py

components:
	sh tests/components.sh

test: setup components lint ## run every test, against real nginx, ffmpeg and Chromium
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered
	$(BIN)/coverage report --include='proxy/domain/*' --fail-under=100 --skip-covered
