# Every target does all of its set-up, in .venv, on a machine with Python 3.11 or later, git and make.
# `make PYTHON=/path/to/python run` chooses the Python that .venv is made with.

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Compiled modules are kept even where the environment forbids it: the tests start hundreds of engines
# and consoles, and each would compile all of the source anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test bench lint screenshot lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 20

run: .venv/installed ## start the console on recorded market data
	@$(BIN)/tradebot-tui

# Research and time travel run at a low priority of their own: beside tests at a higher one they would
# starve. Real engines, sockets and terminals are late on a busy machine: what failed beside two others
# is judged by a second run, alone.
PYTEST := nice -n 19 $(BIN)/pytest

test: .venv/installed ## run the tests
	@$(PYTEST) --numprocesses=3 --dist=loadfile; status=$$?; \
	if [ $$status -ne 1 ]; then exit $$status; fi; \
	echo "What failed runs once more, alone; what is PASSED below failed beside the others."; \
	$(PYTEST) --last-failed --last-failed-no-failures=none -rfEp

bench: .venv/installed ## measure, and print the figures beside those of the design
	@$(BIN)/python -m tests.bench

lint: .venv/installed ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright --pythonpath $(BIN)/python

screenshot: .venv/installed ## draw tui/console.svg from the real console
	@$(BIN)/python -m tests.screenshot tui/console.svg

lock: .venv/installed ## pin the dependencies of pyproject.toml anew, keeping the pins that still fit
	@CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe \
		--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--no-emit-options --extra dev --extra bench --output-file requirements.lock pyproject.toml

clean: ## remove .venv and what the tools left; data and settings stay
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist *.egg-info snapshot_report.html

# The first Python that is new enough and can make an environment: some systems ship neither venv
# nor ensurepip, and some have commands that only say that the version is not there.
.venv/locked: requirements.lock
	@for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
		if $$python -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' \
			2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "error: no Python 3.11 or later with venv was found; install one (on Debian and" \
			"Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python" >&2; \
		exit 2; \
	fi; \
	echo "Installing the dependencies into .venv with $$found (once) ..."; \
	$$found -m venv --clear .venv
	@$(PIP) install --require-hashes --requirement requirements.lock
	@touch $@

.venv/installed: .venv/locked pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
