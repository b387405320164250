# Everything that a newcomer types. Each target sets up what it needs; what a
# machine lacks is said by tests/setup/preflight.sh before anything compiles.

SHELL := /bin/sh
.DEFAULT_GOAL := help

CARGO   ?= cargo
PROFILE ?= dev
# A Python that ordinary users can read too: workers run under it.
PYTHON  ?= $(shell tests/setup/python.sh)
VENV    := .venv
BIN     := target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
# A development build has the features of the tests' dependencies, so that these are compiled once for both.
UNIFIED := $(if $(filter dev,$(PROFILE)),--features caisson/as-tests-have-it)
SHIM    := python-shim/python/caisson
NATIVE  := $(SHIM)/_native.abi3.so
BENCH    = CAISSON=$(BIN)/caisson WORKER_PYTHON=$(PYTHON) CARGO=$(CARGO) PYTHONPATH=tests/e2e $(VENV)/bin/python -m tests.bench

.PHONY: help
help: ## this text
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

.PHONY: demo
demo: ## a real API moved through two isolated workers, and a thief that gets nothing
	@tests/setup/preflight.sh demo
	@$(MAKE) --no-print-directory build
	@CAISSON=$(BIN)/caisson WORKER_PYTHON=$(PYTHON) PYTHONPATH=tests/e2e $(VENV)/bin/python tests/demo/demo.py

.PHONY: test
test: ## every test: unit, integration, end to end, escape, as root and as an ordinary user
	@tests/setup/preflight.sh test
	@$(MAKE) --no-print-directory build
	@CAISSON=$(BIN)/caisson WORKER_PYTHON=$(PYTHON) CARGO=$(CARGO) PROFILE=$(PROFILE) tests/setup/test.sh

.PHONY: escape
escape: ## every attempt to get out of a worker, with its control, as root and as an ordinary user
	@tests/setup/preflight.sh escape
	@$(MAKE) --no-print-directory build
	@CAISSON=$(BIN)/caisson WORKER_PYTHON=$(PYTHON) tests/setup/escape.sh

.PHONY: escape-layers
escape-layers: ## takes each layer away and writes what escapes to docs/layers.md
	@tests/setup/preflight.sh escape
	@$(MAKE) --no-print-directory build
	@CARGO=$(CARGO) PROFILE=$(PROFILE) WORKER_PYTHON=$(PYTHON) tests/setup/escape-layers.sh --page docs/layers.md

.PHONY: test-long
test-long: ## what takes longer than a change may wait: 200 kills, data stacks, every layer taken away
	@tests/setup/preflight.sh test-long
	@$(MAKE) --no-print-directory build
	@CAISSON=$(BIN)/caisson WORKER_PYTHON=$(PYTHON) tests/setup/test-long.sh

.PHONY: canaries
canaries: ## secrets planted in every provider, used, and looked for wherever calls may have left them
	@tests/setup/preflight.sh test
	@$(MAKE) --no-print-directory build
	@CAISSON=$(BIN)/caisson WORKER_PYTHON=$(PYTHON) tests/setup/canaries.sh

.PHONY: lint
lint: ## formatting, clippy, documentation, ruff, mypy: warnings are errors
	@tests/setup/preflight.sh lint
	@$(MAKE) --no-print-directory build
	@CARGO=$(CARGO) tests/setup/lint.sh

# Figures of a build that nobody would install say nothing: these two are of a release build.
.PHONY: bench bench-quick
bench bench-quick: PROFILE := release
bench: ## speed against what users would pick instead, all of it or PARTS="extract start"; to target/bench
	@tests/setup/preflight.sh bench
	@$(MAKE) --no-print-directory build PROFILE=$(PROFILE)
	@$(BENCH) --page $(PARTS)

bench-quick: ## the parts that need no peer, in two minutes; names what is a tenth worse than the baseline
	@tests/setup/preflight.sh bench-quick
	@$(MAKE) --no-print-directory build PROFILE=$(PROFILE)
	@$(BENCH) --quick $(PARTS)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZ_SECONDS (600) each, or those of TARGETS, under libFuzzer
	@CARGO=$(CARGO) tests/setup/fuzz.sh $(TARGETS)

.PHONY: clean
clean: ## removes what was built: target, .venv, caches
	rm -rf target $(VENV) $(NATIVE)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf .pytest_cache .mypy_cache .ruff_cache

# The binary, the worker's native module beside its Python half, and the tools.
.PHONY: build
build: $(VENV)/.ready
	$(CARGO) build --profile $(PROFILE) -p caisson -p caisson-native $(UNIFIED)
	@cmp -s $(BIN)/lib_native.so $(NATIVE) || install -m 0755 $(BIN)/lib_native.so $(NATIVE)
	@ln -sfn $(CURDIR)/python-shim/python $(BIN)/shim
	@$(PYTHON) -m compileall -q $(SHIM) # workers see it read-only, and would compile it each time

$(VENV)/.ready: tests/setup/requirements.txt tests/setup/venv.sh
	@PYTHON=$(PYTHON) tests/setup/venv.sh $(VENV)
