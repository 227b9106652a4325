"""The programs that a shell text runs: all of them, or a word that it cannot be read."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.fail2ban.config.shell_words import UnclearError, simple_commands

TEXTS = {
    "one; two && three || four & five | six\nseven": ["one", "two", "three", "four", "five", "six", "seven"],
    "if one; then two; elif ! three; then four; else five; fi": ["one", "two", "three", "four", "five"],
    "for x in a b; do one $x; done; while two; do three; done": ["one", "two", "three"],
    "case $x in a) one;; *) two;; esac": ["one", "two"],
    "{ one; } && ( two; three )": ["one", "two", "three"],
    "X=1 Y='a b' one; Z=2": ["one"],
    "one 'a; b' \"c | d\" e\\;f # g; h\ntwo": ["one", "two"],
    "x=$(one; two) three": ["one", "two", "three"],
    'one "a $(two "b" `three`) c" `four`': ["two", "three", "four", "one"],
    "/usr/sbin/one -x; sudo -n two; timeout 5 three; flock /x four; env A=1 nice five": [
        "one",
        "two",
        "three",
        "four",
        "five",
    ],
    "sh -c 'one; two' && bash -ec \"three\"; eval four 'x;' five": ["one", "two", "three", "four", "five"],
    "one > /a 2>&1; two >> /b 2>/dev/null < /c; three &> /d": ["one", "two", "three"],
    "one $((1 + 2)) ${x:-$(two)}": ["two", "one"],
    "one a\\\n b": ["one"],
}
UNCLEAR = [
    "one 'a",
    'one "a',
    "x=$(one",
    "one <<E\na\nE\n",
    "one `two",
    "sh script",
    "one $(( $(two) ))",
    "diff <(one) <(two)",
]


@pytest.mark.parametrize(("text", "programs"), TEXTS.items())
def test_programs(text, programs):
    """In quotes, substitutions, loops, conditions and inner shells."""
    assert sorted(command.program for command in simple_commands(text) if command.program) == sorted(programs)


def test_files():
    """What is written, but for other descriptors; what is read is nobody's word."""
    found = simple_commands("one a > /a 2>&1; two b >> '/b c' 2>/dev/null < /c; three >| /d")
    assert [(command.words, command.files) for command in found] == [
        (["one", "a"], ["/a"]), (["two", "b"], ["/b c", "/dev/null"]), (["three"], ["/d"]),
    ]  # fmt: skip


@pytest.mark.parametrize("text", UNCLEAR)
def test_unclear(text):
    """Half a command is not taken for the whole."""
    with pytest.raises(UnclearError):
        simple_commands(text)


@given(st.text(alphabet="ab $()`'\"\\;&|<>{}#=\n-/", max_size=60))
def test_nothing_else_happens(text):
    """Whatever the text is, it is read or found unclear."""
    try:
        simple_commands(text)
    except UnclearError:
        return


PIECES = ["one", "two a", "'three;'", '"$(four)"', "; ", " && ", " | ", "\n", "(", ")", "$(five)", "`six`", " > /dev/null ",
          "if ", "; then ", "; fi", "x=1 ", "{ ", "; }", " # seven\n", "! ", "sh -c 'eight'", "eval nine"]  # fmt: skip


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=8))
def test_as_a_shell(pieces, tmp_path_factory):
    """A shell runs no program that is not found here."""
    text = "".join(pieces)
    folder = tmp_path_factory.mktemp("stubs")
    for name in ("one", "two", "three;", "four", "five", "six", "seven", "eight", "nine"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name}' >> {folder}/noted\n")
        (folder / name).chmod(0o755)
    (folder / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    subprocess.run(
        ["/bin/sh", "-c", text],
        env={"PATH": str(folder)},
        cwd=folder,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    noted = Path(folder / "noted")
    ran = set(noted.read_text().split("\n")) - {""} if noted.exists() else set()
    shutil.rmtree(folder)
    try:
        found = {command.program for command in simple_commands(text)}
    except UnclearError:
        return
    # A name that a substitution completes stands here as `one$`, which is no known program.
    assert ran <= found or any("$" in program for program in found), text
