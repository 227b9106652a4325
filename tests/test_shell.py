"""Tags in shell commands: whatever a value holds, a real shell sees one word of text."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipguard.shell import fill

PLACES = ["printf %s <F-USER>", 'printf %s "<F-USER>"', "printf %s '<F-USER>'"]
HOSTILE = ["$(touch x)", "`id`", "a'b\"c", "; rm x", "-n", "*", "a b", "${HOME}", "\\", "\n", "|&<>", "!!", "ä\u2028"]


def run(command, value):
    """What the command prints, run by a shell."""
    filled, environment = fill(command, lambda tag: value if tag == "F-USER" else None)
    done = subprocess.run(["/bin/sh", "-c", filled], env=environment, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.decode()


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("place", PLACES)
def test_hostile(place, value):
    """Bare, in double quotes, in single ones."""
    assert run(place, value) == value


def test_quotes_before():
    """Quotes and escapes earlier in the command do not confuse the place."""
    assert run("printf %s a\\'\"b'c\"'x\"y'<F-USER>", "p q'") == "a'b'cx\"yp q'"


def test_harmless_is_written():
    """An address stays readable in the command; an unknown tag stays as it is."""
    assert fill("check <ip> <other>", {"ip": "2001:db8::5"}.get) == ("check 2001:db8::5 <other>", {})


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40), st.sampled_from(PLACES))
def test_any_value(value, place):
    """Nothing is lost, nothing is obeyed."""
    assert run(place, value) == value
