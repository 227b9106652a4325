"""Tags in shell commands: whatever a value holds, a real shell sees text. What Fail2ban makes safe is safe."""

from __future__ import annotations

import itertools
import json
import subprocess

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from sipguard.shell import fill_command

PYTHON = "/usr/bin/python3"

CONTEXTS = {
    "double quotes": 'printf %s "<F-USER>"',
    "an assignment": 'x=<F-USER>; printf %s "$x"',
    "an inner shell": "sh -c 'printf %s \"<F-USER>\"'",
    "an assignment in an inner shell": "sh -c 'x=<F-USER>; printf %s \"$x\"'",
    "an assignment behind another": 'y=1 x=<F-USER>; printf %s "$x"',
    "an assignment for a program": "env x=<F-USER> sh -c 'printf %s \"$x\"'",
    "an exported one": 'export x=<F-USER>; printf %s "$x"',
    "an assignment in eval": "eval 'x=<F-USER>'; printf %s \"$x\"",
    "an assignment within a substitution": 'printf %s "$(x=<F-USER>; printf %s "$x"; echo .)" | head -c -1',
    "eval of what is quoted": "eval 'printf %s \"<F-USER>\"'",
    "an inner shell in double quotes": 'sh -c "printf %s \\"<F-USER>\\""',
    "an option before it": 'bash -ec "printf %s \\"<F-USER>\\""',
    "eval in double quotes": 'eval "printf %s \\"<F-USER>\\""',
    "a trap in double quotes": 'trap "printf %s \\"<F-USER>\\"" EXIT',
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


OTHERS = {
    "bare": "printf %s <F-USER>",
    "single quotes": "printf %s '<F-USER>'",
    "an inner shell, bare": "sh -c 'printf %s <F-USER>'",
    "an inner shell, two quotes in a row": "sh -c 'printf %s '\"'<F-USER>'\"",
    "ignorecommand of an operator": "sh -c 'grep -qx \"<F-USER>\" /dev/null'",
    "a test": '[ "<F-USER>" = x ] || true',
    "a bare test": "[ <F-USER> = x ] || true",
    "a pattern": 'case "<F-USER>" in x) ;; esac',
    "a file": "true 2> /dev/null < '<F-USER>' || true",
    "a quoted document": "cat <<'END'\n<F-USER>\nEND\n",
    "backticks": "x=`printf %s <F-USER>`",
    "a bare default value": "true ${UNSET:-<F-USER>}",
    "a function": 'f() { printf %s "$1"; }; f <F-USER>',
    "a pipe": 'printf %s "<F-USER>" | sh -c "cat >/dev/null"',
    "an inner shell in double quotes, bare": 'sh -c "printf %s <F-USER>"',
    "eval in double quotes, bare": 'eval "printf %s <F-USER>"',
    "a trap in double quotes, bare": 'trap "printf %s <F-USER>" EXIT',
    "a trap in double quotes, behind others": "true; x=1; trap \"printf '<F-USER>'\" 0",
    "a count": 'printf "%s" x | grep -c "<F-USER>"',
    "eval of a word": "eval printf %s <F-USER>",
    "a comment": "true # it's <F-USER>",
}
"""Where a value may stand besides, whatever comes of it; two of them are not safe, as in Fail2ban."""
ATTACKS = [
    "$(touch PWNED)", "`touch PWNED`", "1 touch PWNED", ";touch PWNED;", "|touch PWNED", "&touch PWNED&", "\ntouch PWNED\n",
    "';touch PWNED;'", '";touch PWNED;"', "'\"$(touch PWNED)\"'", "\\$(touch PWNED)", "x\r\ntouch PWNED", ">PWNED",
    "}; touch PWNED; {", ") touch PWNED ;;", "\nEND\ntouch PWNED\n", "${X:-$(touch PWNED)}",
    "a\ttouch PWNED", "-n; touch PWNED",
]  # fmt: skip
ASSIGNMENTS = {name: command for name, command in CONTEXTS.items() if "assignment" in name or "exported" in name}
FAIL2BAN = """
import json, os, subprocess, sys
from fail2ban.server.action import CommandAction
for number, (command, value) in enumerate(json.load(sys.stdin)):
    os.mkdir(str(number))
    filled = CommandAction.replaceDynamicTags(command, {"F-*": {"user": value}})
    try:
        subprocess.run(filled, shell=True, cwd=str(number), capture_output=True, timeout=5)
    except ValueError:  # a NUL
        pass
"""


def ours(folder, pairs):
    """Run every command with its value, as `ignorecommand` and actions do."""
    for number, (command, value) in enumerate(pairs):
        (folder / str(number)).mkdir(parents=True)
        filled, variables = fill_command(command, lambda tag, value=value: value if tag == "F-USER" else None)
        environment = {"PATH": "/usr/bin:/bin", **variables}
        subprocess.run(
            ["/bin/sh", "-c", filled], env=environment, cwd=folder / str(number), capture_output=True, check=False
        )


def harmed(folder, pairs):
    """The commands and values that have made a file."""
    return {pair for number, pair in enumerate(pairs) if any((folder / str(number)).iterdir())}


@pytest.mark.fail2ban
def test_no_less_safe_than_fail2ban(tmp_path):
    """Each context with each attack, by both programs: what Fail2ban makes safe is safe here, and assignments besides."""
    pairs = list(itertools.product([*CONTEXTS.values(), *OTHERS.values()], ATTACKS))
    ours(tmp_path / "ours", pairs)
    (tmp_path / "theirs").mkdir()
    subprocess.run([PYTHON, "-c", FAIL2BAN], input=json.dumps(pairs), text=True, cwd=tmp_path / "theirs", check=True)
    here, there = harmed(tmp_path / "ours", pairs), harmed(tmp_path / "theirs", pairs)
    assert here - there == set()
    assert {command for command, _ in here} == {OTHERS["eval of a word"], OTHERS["an inner shell, two quotes in a row"]}
    assert any(pair[0] in ASSIGNMENTS.values() for pair in there)  # the attacks do attack


@examples(20)
@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
    st.sampled_from([CONTEXTS["double quotes"], CONTEXTS["an inner shell"], CONTEXTS["an assignment"]]),
)
def test_any_value(value, command):
    """Nothing is lost, nothing is obeyed."""
    assert run(command, value) == value
