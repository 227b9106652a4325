"""What holds for every test."""

import gc
import os
import time
from pathlib import Path

import messages
import needs
import pytest
from compiled import compile_share
from effort import load_profile

# What this machine's own sipguard is configured to do is no test's concern: nor that of the programs that tests start.
os.environ["SIPGUARD_CONFIG"] = str(Path(__file__).parent / "fixtures" / "unconfigured" / "sipguard.toml")
load_profile()
if messages.FOLDER:
    messages.begin()


def pytest_configure(config):
    """Paths that are named, in order: after a file of tests/, pytest 9.1 no longer finds the fixtures of a folder seen before."""
    config.args.sort()


@pytest.fixture
def zurich(monkeypatch):
    """The machine stands in Zurich, where Fail2ban's samples are from."""
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session):
    """What is collected stays to the end: looking for garbage among it takes a third of the time, in each process."""
    gc.disable()
    compile_share(session.config)
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Before `-m` chooses among them. What takes longest begins first: real servers and their like."""
    for item in items:
        needs.mark(item)
    items.sort(key=needs.is_quick)


def pytest_collection_finish(session):
    """Tests that share a fixture run in one process."""
    needs.check_groups(session.items, session.config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """What a test lacks here it says in its skip."""
    needs.begin(item)


def pytest_sessionfinish():
    """`make messages` writes them into one file."""
    if messages.FOLDER:
        messages.end()
