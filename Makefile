# `make check` before a commit, `make check-all` before a change lands. Another environment: make PYTHON=path/to/python
PYTHON ?= .venv/bin/python
BIN := $(dir $(PYTHON))
TESTS := $(PYTHON) -m pytest -q -n 2 --dist worksteal
FAST := not (process or screen or fuzz or slow or real or vllm)

.PHONY: check check-all lint types fast all fix docs

check:  # lint, format, types and the fast tests: under a minute on two cores
	@$(MAKE) --no-print-directory -j 2 types fast

check-all: lint types all  # all that continuous integration runs

lint:
	$(BIN)ruff check .
	$(BIN)ruff format --check .

types:
	$(BIN)mypy

fast: lint
	$(TESTS) -m "$(FAST)" --hypothesis-profile fast

all:
	$(TESTS)

fix:  # what ruff can put right
	$(BIN)ruff check --fix .
	$(BIN)ruff format .

docs:  # draw again what is generated: the pictures of the chat, and that of the page (which needs a Chromium)
	$(PYTHON) -m tests.support.pictures
	$(PYTHON) -m tests.support.page_picture
