"""The tags of a ban: a value reaches a command as it is, and as nothing but a value."""

from __future__ import annotations

import subprocess

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from sipguard.actions.command import environment
from sipguard.actions.tags import Values
from sipguard.actions.ticket import JailFacts, JailTotals, Past, Ticket, blank
from sipguard.model import FOREVER, Ban
from sipguard.shell import MAX_VALUE, fill_command, fill_text

LINES = ("first 'line'", "second line")


def ticket(address="203.0.113.7", until=1600.0, *, lines=LINES, past=None, **data):
    """A ban."""
    facts = JailFacts(
        "sip", 600.0, past=past or (lambda _address, _jail: Past()), totals=lambda: JailTotals(1, 2, 3, 4)
    )
    return Ticket(Ban(address, "sip", 1000.5, until, 5, 2), facts, lines, data)


TAGS = {
    "ip": "203.0.113.7",
    "family": "inet4",
    "ip-rev": "7.113.0.203.",
    "ip-host": "a.example.com",
    "fid": "203.0.113.7",
    "failures": "5",
    "time": "1000.5",
    "bantime": "600",
    "bancount": "2",
    "matches": "first 'line'\nsecond line",
    "restored": "0",
    "F-USER": "1000",
    "F-NONE": "",
    "F-*": "{'matches': [\"first 'line'\", 'second line'], 'failures': 5, 'user': '1000'}",
    "ipmatches": "first 'line'\nsecond line",
    "ipfailures": "5",
    "jail.banned": "1",
    "jail.banned_total": "2",
    "jail.found": "3",
    "jail.found_total": "4",
    "F-user": "<F-user>",
    "STDIN": "<STDIN>",
}


@pytest.mark.parametrize(("tag", "value"), TAGS.items(), ids=TAGS)
def test_tag(tag, value):
    """Each tag's value, as Fail2ban writes it; what is no tag stays."""
    assert fill_text(f"<{tag}>", Values(ticket(user="1000"), "a.example.com").get) == value


OTHERS = {
    "IPv6": (ticket("2001:db8::7"), "ip-rev", "7." + "0." * 23 + "8.b.d.0.1.0.0.2."),
    "IPv6 family": (ticket("2001:db8::/64"), "family", "inet6"),
    "for ever": (ticket(until=FOREVER), "bantime", "-1"),
    "an id": (ticket(fid="call-1"), "fid", "call-1"),
    "no name": (ticket(), "ip-host", "None"),
    "of an operation": (blank(JailFacts("sip", 600.0), 5.0, "inet6"), "family", "inet6"),
    "time of an operation": (blank(JailFacts("sip", 600.0), 5.0), "bantime", "600"),
    "no address": (blank(JailFacts("sip", 600.0), 5.0), "ip-rev", ""),
    "stored lines": (ticket(lines=(), past=lambda _a, jail: Past(1, (f"of {jail}",))), "matches", "of sip"),
    "stored in all": (ticket(past=lambda _a, jail: Past(9, (f"of {jail}",))), "ipmatches", "of None"),
    "how many": (ticket(past=lambda _a, jail: Past(9 if jail else 12, ())), "ipjailfailures", "9"),
}


@pytest.mark.parametrize(("one", "tag", "value"), OTHERS.values(), ids=OTHERS)
def test_other_tickets(one, tag, value):
    """What depends on the ban."""
    assert fill_text(f"<{tag}>", Values(one).get) == value


COMMANDS = {
    "plain": ("run <ip> '<F-USER>'", {"user": "a b=1"}, "run 203.0.113.7 'a b=1'", {}),
    "blank in a text": ("curl -d 'u=<F-USER>&x'", {"user": "a b"}, "curl -d 'u=a b&x'", {}),
    "blank": ("x=<F-USER>", {"user": "1 id"}, 'x="${f2bV_F_user}"', {"f2bV_F_user": "1 id"}),
    "variable": ('run "<F-USER>"', {"user": "$(x)"}, 'run "$f2bV_F_user"', {"f2bV_F_user": "$(x)"}),
    "tab": ("run <F-USER>", {"user": "a\tb"}, "run $f2bV_F_user", {"f2bV_F_user": "a\tb"}),
    "word behind": ("run <F-USER>x", {"user": "#"}, "run ${f2bV_F_user}x", {"f2bV_F_user": "#"}),
    "port is another's name": ("<F-PORT>", {"fport": ";"}, "$f2bV_F_fport", {"f2bV_F_fport": ";"}),
    "no tag in a value": ("<F-USER>", {"user": "<ip>"}, "$f2bV_F_user", {"f2bV_F_user": "<ip>"}),
    "two of one name": (
        "<F-A-B> <F-A_B>",
        {"a-b": "$1", "a_b": "$2"},
        "$f2bV_F_a_b $f2bV_F_a_b_",
        {"f2bV_F_a_b": "$1", "f2bV_F_a_b_": "$2"},
    ),
    "NUL": ("<F-USER>", {"user": "a\0;b"}, "$f2bV_F_user", {"f2bV_F_user": "a;b"}),
}


@pytest.mark.parametrize(("text", "data", "script", "variables"), COMMANDS.values(), ids=COMMANDS)
def test_command(text, data, script, variables):
    """What goes into the command, and what into a variable."""
    assert fill_command(text, Values(ticket(**data)).get) == (script, variables)


def test_a_long_value_is_cut():
    """No value is longer than what the kernel takes; a long one is not put into the command itself."""
    command, variables = fill_command("<F-USER>", Values(ticket(user="é" * 100_000)).get)
    assert command == "$f2bV_F_user"
    assert len(variables["f2bV_F_user"].encode("utf-8", "surrogateescape")) == MAX_VALUE


@given(st.text(max_size=80) | st.text(alphabet="\\\"'$`(){}<>|&;#~*?![]= \t\r\n\x00\x1b\udc80\ud800é", max_size=40))
@examples(30)
def test_a_shell_gets_the_value(value):
    """Whatever the value is, a shell that is given the tag in double quotes gets it, and nothing runs."""
    command, variables = fill_command('printf %s "<F-USER>"', Values(ticket(user=value)).get)
    done = subprocess.run(["/bin/sh", "-c", command], env=environment(variables), capture_output=True, check=True)
    assert done.stderr == b""
    try:
        expected = value.replace("\0", "").encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        expected = value.replace("\0", "").encode("utf-8", "backslashreplace")
    assert done.stdout == expected
