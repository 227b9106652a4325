# Everything that a developer or a curious operator runs. Needs python3 (3.11 or later) with venv, and make; the rest is
# installed into .venv at the first call.
PYTHON ?= python3
FIREWALL ?= memory
SOAK ?= 300
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
TESTED := $(VENV)/ready-for-tests

.PHONY: run test lint format bench deb soak clean help

help: ## list these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: $(READY) ## watch the real daemon at work on bundled logs; as root, FIREWALL=nftables bans for real in a namespace
	$(BIN)/python -m demo --firewall $(FIREWALL)

test: $(TESTED) ## every test; those that need root or a missing program say so
	$(BIN)/python -m pytest $(ARGS)

lint: $(TESTED) ## style and types
	$(BIN)/ruff format --check sipguard tests demo benchmarks
	$(BIN)/ruff check sipguard tests demo benchmarks
	$(BIN)/mypy

format: $(TESTED) ## put the code into its form
	$(BIN)/ruff format sipguard tests demo benchmarks
	$(BIN)/ruff check --fix sipguard tests demo benchmarks

bench: $(TESTED) ## measure against Fail2ban, side by side
	$(BIN)/python -m benchmarks

deb: ## the Debian packages, into dist/
	packaging/build-deb dist

soak: $(TESTED) ## the daemon under load, kill -9, rotation and flushes for SOAK seconds (300)
	PYTHONPATH=.:tests $(BIN)/python -m soak $(SOAK)

clean: ## remove what these targets have made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sipguard needs Python 3.11 or later; name one: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "install Python's venv first: apt install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@# Only from a wheel: where there is none, logs are searched without it.
	$(BIN)/pip install --quiet --disable-pip-version-check --only-binary :all: 'hyperscan>=0.7' 2>$(VENV)/hyperscan.log \
		|| echo "no wheel of hyperscan for this machine (see $(VENV)/hyperscan.log): logs are searched more slowly"
	touch $@

$(TESTED): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@# python-iptables compiles a C extension: without a compiler the tests of that backend are skipped, and say so.
	$(BIN)/pip install --quiet --disable-pip-version-check 'python-iptables>=1.0.1' 2>$(VENV)/iptables.log \
		|| echo "python-iptables cannot be built here (see $(VENV)/iptables.log): the tests of that backend are skipped"
	touch $@
