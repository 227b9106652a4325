"""`check` looks at a jail's log and says what the server should log."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import pytest
from annotations import FILTERS, LOGS, ROOT

from sipguard.cli.advice import advice
from sipguard.cli.port_advice import port_advice
from sipguard.config.filters import read_filter
from sipguard.enable.machine import Machine
from sipguard.model import Filter, Jail, LogPath, PortRange, Rule


@pytest.mark.parametrize(
    ("reference", "log", "words"),
    [
        ("asterisk", "asterisk22-messages", ["asterisk[log=all]"]),
        ("asterisk", "asterisk22-full", ["a log of `security` alone is safer"]),
        ("asterisk", "asterisk22-security", []),
        ("freeswitch", "freeswitch-warning", ["calls stand in this log"]),
        ("freeswitch", "freeswitch-debug", []),
        ("freeswitch", "freeswitch-info", ["calls stand in this log"]),
        ("freeswitch", "asterisk22-messages", ["log-auth-failures"]),
        ("kamailio", "asterisk22-messages", ["docs/kamailio.md"]),
    ],
)
def test_advice(reference, log, words):
    """One piece of advice per thing that is missing or unsafe; none for the logs that docs/logs.md recommends."""
    jail = Jail("j", read_filter(reference, [FILTERS]), logpath=(LogPath(f"{LOGS / log}.log"),))
    given = list(advice(jail))
    assert len(given) == len(words)
    assert all(word in text for word, text in zip(words, given, strict=True))


@pytest.mark.parametrize(
    ("reference", "log"), [("asterisk", "asterisk22-messages"), ("freeswitch", "asterisk22-messages")]
)
def test_where_a_log_is_weak_events_are_advised_until_they_are_on(reference, log):
    """The server tells its events whatever its log holds; who has them is not told again."""
    jail = Jail("j", read_filter(reference, [FILTERS]), logpath=(LogPath(f"{LOGS / log}.log"),))
    assert [text for text in advice(jail) if "docs/events.md" in text]
    having = replace(jail, events=f"{reference}://127.0.0.1:1")
    assert not [text for text in advice(having) if "docs/events.md" in text or "{events}" in text]


def test_a_log_that_is_not_there_is_no_matter_of_advice(tmp_path):
    """Nor is an empty one: nothing is missing where nothing has happened. A FIFO is not waited for."""
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    logs = tuple(str(tmp_path / name) for name in ("none", "empty", "fifo"))
    jail = Jail("j", read_filter("asterisk", [FILTERS]), logpath=tuple(map(LogPath, logs)))
    assert not list(advice(jail))


def test_calls_without_their_uuid(tmp_path):
    """A log into which callers can write whole lines is told of."""
    log = tmp_path / "freeswitch.log"
    log.write_text("2026-01-15 10:20:30.123456 98.53% [INFO] sofia.c:10472 sofia/internal/1@x receiving invite\n")
    jail = Jail("j", read_filter("freeswitch", [FILTERS]), logpath=(LogPath(str(log)),))
    assert [text for text in advice(jail) if "set `uuid` to true" in text]


CHECKS = ("register", "no_dlg", "in_dlg")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('loadmodule "auth.so"\nloadmodule "auth_db.so"\n', True),
        ('loadmodule "/usr/lib/kamailio/modules/auth.so"\n#modparam("auth", "one_time_nonce", 1)\n', True),
        ('loadmodule "auth.so"\nmodparam("auth", "auth_checks_register", 3)\n', True),
        ('loadmodule "auth.so"\nmodparam("auth", "one_time_nonce", 1)\n', False),
        ('loadmodule "auth.so"\nmodparam("auth", "auth_checks_register", 8)\n', True),
        ('loadmodule "auth.so"\n' + "".join(f'modparam("auth", "auth_checks_{one}", 9)\n' for one in CHECKS), False),
        ('loadmodule "tm.so"\n', False),
        (None, False),
    ],
)
def test_kamailio_nonces(tmp_path, monkeypatch, lines, told):
    """Who reads the wire of a Kamailio with predictable nonces is told what to set there."""
    path = tmp_path / "kamailio.cfg"
    if lines is not None:
        path.write_text(lines)
    monkeypatch.setattr("sipguard.cli.advice.KAMAILIO_FILES", [path])
    found = list(advice(Jail("sip", Filter("sip", ()), source="wire")))
    assert any("one_time_nonce" in line for line in found) is told


@pytest.mark.parametrize(
    ("reference", "told"),
    [("asterisk", True), ("asterisk[channels=sip]", False), ("asterisk[channels=all,log=all]", False)],
)
def test_advice_that_was_followed_is_not_given(tmp_path, reference, told):
    """From the log's first line on."""
    log = tmp_path / "messages"
    log.write_text(
        "[2026-11-28 10:00:00] NOTICE[1] chan_sip.c: Registration from '\"1\" <sip:1@x>' failed for 'y' - z\n"
    )
    jail = Jail("j", read_filter(reference, [FILTERS]), logpath=(LogPath(str(log)),))
    assert any("chan_sip" in text for text in advice(jail)) is told


def test_advice_for_the_journal(tmp_path, monkeypatch):
    """Of a jail that reads it: what journalctl gives is looked at."""
    entry = {"__REALTIME_TIMESTAMP": "1", "__CURSOR": "c", "_HOSTNAME": "pbx", "SYSLOG_IDENTIFIER": "asterisk"}
    entry |= {"SYSLOG_PID": "7", "MESSAGE": "[2026-11-28 10:00:00] NOTICE[1] chan_sip.c: Registration from 'x'"}
    program = tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(entry).replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    given = list(advice(Jail("j", read_filter("asterisk", [FILTERS]), journal=True)))
    assert [text for text in given if "journal" in text and "asterisk[channels=sip]" in text] == given
    assert len(given) == 1


def test_ports_that_no_ban_covers(tmp_path):
    """A port of a SIP profile that the jail has not; what is covered, or all ports are, or no such server: nothing."""
    shutil.copytree(ROOT / "fixtures/machines/freeswitch-vanilla", tmp_path / "machine")
    profile = tmp_path / "machine/etc/freeswitch/sip_profiles/internal.xml"
    profile.write_text(profile.read_text().replace("$${internal_sip_port}", "5070"))
    rule = Rule("pbx", (PortRange(5060, 5061),))
    pbx = Jail("pbx", Filter("freeswitch-scan", ()), rule=rule)
    wire = replace(pbx, name="sip", filter=Filter("sip", ()), source="wire")
    told = list(port_advice([pbx, wire], Machine(tmp_path / "machine")))
    assert [line.partition(":")[0] for line in told] == ["jail pbx", "jail sip"]
    assert "FreeSWITCH listens on 5070 too" in told[0]
    assert "add it to port in jails.d/pbx.toml" in told[0]
    covered = (
        replace(pbx, rule=Rule("pbx", (PortRange(5060, 5070),))),
        replace(pbx, rule=Rule("pbx")),
        replace(pbx, filter=Filter("asterisk", ())),
        replace(pbx, filter=Filter("sshd", ())),
    )
    assert not list(port_advice(covered, Machine(tmp_path / "machine")))
