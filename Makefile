# Everything that a developer or a curious operator runs. Needs python3 (3.11 or later) with venv, and make; the rest is
# installed into .venv at the first call.
PYTHON ?= python3
FIREWALL ?= memory
SOAK ?= 300
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
TESTED := $(VENV)/ready-for-tests
REST := $(VENV)/ready-for-rest
# Tests wait half of their time, so two run for each processor; ARGS="tests/policy -k window" chooses among them.
WORKERS ?= $(shell echo $$((2 * $$(nproc))))
PYTEST = $(BIN)/python -m pytest -n $(WORKERS)
QUICK := not (root or fail2ban or lab or long or site or browser or ansible)

# Hundreds of daemons start in the tests: with compiled modules in a quarter of the time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test test-all test-rest test-long lint format bench deb docs picture soak messages clean help

help: ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: $(READY) ## watch the real daemon at work on bundled logs; as root, FIREWALL=nftables bans for real in a namespace
	$(BIN)/python -m demo --firewall $(FIREWALL)

test: $(TESTED) ## what needs no root, no Fail2ban and no real server: minutes
	$(PYTEST) --dist worksteal -m '$(QUICK)' $(ARGS)

test-all: test test-rest ## the rest too, as root: real firewalls, Fail2ban, Asterisk; what is missing is said

test-rest: $(TESTED) $(REST)
	SIPGUARD_TESTS=rest $(PYTEST) --dist loadgroup --no-loadscope-reorder -m 'not long and (more or not ($(QUICK)))' $(ARGS)

test-long: $(TESTED) ## what takes its time: millions of lines, random trees and partitions, fuzzing; then the soak
	SIPGUARD_TESTS=long $(PYTEST) --dist loadgroup -m 'long or fuzz or timed' $(ARGS)
	$(MAKE) soak

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

docs: $(TESTED) ## the documentation's site, into site/
	PATH="$(CURDIR)/$(BIN):$$PATH" packaging/build-docs site

picture: $(TESTED) ## the picture of the README, made from the real program
	$(BIN)/python -m demo.picture docs/pictures/status.svg

soak: $(TESTED) ## the daemon under load, kill -9, rotation and flushes for SOAK seconds (300)
	PYTHONPATH=.:tests $(BIN)/python -m soak $(SOAK)

messages: $(TESTED) ## all that a test run has shown to users, in build/messages.txt: to be read together
	rm -rf build/messages
	SIPGUARD_MESSAGES=build/messages $(PYTEST) --dist worksteal -m '$(QUICK)' $(ARGS)
	$(BIN)/python tests/messages.py build/messages build/messages.txt

clean: ## remove what these targets have made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sipguard needs Python 3.11 or later; name one: make PYTHON=python3.12")'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { echo "install Python's venv first: apt install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(TESTED): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@# python-iptables compiles a C extension: without a compiler the tests of that backend are skipped, and say so.
	$(BIN)/pip install --quiet --disable-pip-version-check 'python-iptables>=1.0.1' 2>$(VENV)/iptables.log \
		|| echo "python-iptables cannot be built here (see $(VENV)/iptables.log): the tests of that backend are skipped"
	touch $@

$(REST): $(TESTED)
	@# It drives the chromium of the distribution, and downloads none.
	$(BIN)/pip install --quiet --disable-pip-version-check 'playwright>=1.45' 2>$(VENV)/playwright.log \
		|| echo "playwright cannot be installed here (see $(VENV)/playwright.log): the tests in a browser are skipped"
	$(BIN)/pip install --quiet --disable-pip-version-check 'ansible-core>=2.14' 'ansible-lint>=6' 2>$(VENV)/ansible.log \
		|| echo "ansible cannot be installed here (see $(VENV)/ansible.log): the tests of the role are skipped"
	touch $@
