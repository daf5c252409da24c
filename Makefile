PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo monitor bench soak fuzz test lint components

ROUNDS ?= 5
MINUTES ?= 10
SECONDS ?= 30

setup: .venv/ready ## make .venv with everything in it

.venv/ready: pyproject.toml constraints.txt hatch_build.py npm/package.json npm/package-lock.json
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: setup ## run the edge in front of a sandbox Dailymotion
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

components:
	sh tests/components.sh

test: setup components lint ## run every test, against real nginx, ffmpeg and Chromium
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered
	$(BIN)/coverage report --include='proxy/domain/*' --fail-under=100 --skip-covered
