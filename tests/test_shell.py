"""Tags in shell commands: whatever a value holds, a real shell sees text. What Fail2ban makes safe is safe."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipguard.shell import fill_command

CONTEXTS = {
    "double quotes": 'printf %s "<F-USER>"',
    "an assignment": 'x=<F-USER>; printf %s "$x"',
    "an inner shell": "sh -c 'printf %s \"<F-USER>\"'",
    "an assignment in an inner shell": "sh -c 'x=<F-USER>; printf %s \"$x\"'",
    "eval of what is quoted": "eval 'printf %s \"<F-USER>\"'",
    "a default value": 'printf %s "${UNSET:-<F-USER>}"',
    "a command substitution": 'x=$(printf %s "<F-USER>"; echo .); x=${x%.*}; printf %s "$x"',
    "a document": "head -c -1 <<END\n<F-USER>\nEND\n",
    "behind quotes and escapes": 'true a\\\'"b\'c"\'x"y\'; printf %s "<F-USER>"',
}
"""Where a command may name a tag, each so written that it prints the value as it is."""
HOSTILE = [
    "$(id)", "`id`", "a'b\"c", "; id", "-n", "*", "1 id", " a  b ", "${HOME}", "\\", "|&<>", "!!", "ä\u2028",
    "'; id; '", '"; id; "',
]  # fmt: skip


def run(command, value):
    """What the command prints, run by a shell."""
    filled, environment = fill_command(command, lambda tag: value if tag == "F-USER" else None)
    done = subprocess.run(
        ["/bin/sh", "-c", filled], env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, check=True
    )
    assert done.stderr == b""
    return done.stdout.decode()


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("command", CONTEXTS.values(), ids=CONTEXTS)
def test_the_value_is_text(command, value):
    """Nothing in it is obeyed, nothing of it is lost."""
    assert run(command, value) == value


@pytest.mark.parametrize("value", HOSTILE)
def test_single_quotes_hide_the_value(value):
    """As in Fail2ban: between single quotes a shell does not look into variables. What is written there is text all the same."""
    assert run("printf %s '<F-USER>'", value) in (value, "$f2bV_F_user")


def test_a_plain_value_is_written():
    """An address stays readable in the command; an unknown tag stays as it is."""
    assert fill_command("check <ip> <other>", {"ip": "2001:db8::5"}.get) == ("check 2001:db8::5 <other>", {})


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
    st.sampled_from([CONTEXTS["double quotes"], CONTEXTS["an inner shell"], CONTEXTS["an assignment"]]),
)
def test_any_value(value, command):
    """Nothing is lost, nothing is obeyed."""
    assert run(command, value) == value
