"""The same failure in every format that a server or a syslog daemon writes it in."""

from __future__ import annotations

import pytest
from annotations import FILTERS

from sipguard.config.filters import read_filter
from sipguard.detection.detector import Detector

ATTACKER = "203.0.113.66"
TEXT = f"Request 'REGISTER' from '<sip:1000@192.0.2.10>' failed for '{ATTACKER}:5060' (callid: 2852) - Failed to authenticate"
PLACE = "res_pjsip/pjsip_distributor.c"
ASTERISK = {
    "file": f"[2026-01-15 10:20:30] NOTICE[4242] {PLACE}: {TEXT}",
    "file, sample date": f"[Jan 15 10:20:30] NOTICE[4242] {PLACE}: {TEXT}",
    "file, milliseconds and zone": f"[2026-01-15 10:20:30.123+0000] NOTICE[4242] {PLACE}: {TEXT}",
    "file, in a call": f"[2026-01-15 10:20:30] NOTICE[4242][C-0000001a] {PLACE}: {TEXT}",
    "plain": f"[2026-01-15 10:20:30] NOTICE[4242]: {PLACE}:722 log_failed_request: {TEXT}",
    "console, coloured": f"[2026-01-15 10:20:30] \x1b[1;33mNOTICE\x1b[0m[4242]: \x1b[1;37m{PLACE}\x1b[0m:\x1b[1;37m722\x1b[0m "
    f"\x1b[1;37mlog_failed_request\x1b[0m: {TEXT}",
    "syslog": f"Jan 15 10:20:30 pbx1 asterisk[777]: NOTICE[4242]: {PLACE}:722 in log_failed_request: {TEXT}",
    "syslog, RFC 3339": f"2026-01-15T10:20:30.123456+00:00 pbx1 asterisk[777]: NOTICE[4242]: {PLACE}:722 in "
    f"log_failed_request: {TEXT}",
}
FAILURE = f"SIP auth failure (REGISTER) on sofia profile 'internal' for [1000@192.0.2.10] from ip {ATTACKER}"
RECORD = f"[WARNING] sofia_reg.c:1787 {FAILURE}"
FREESWITCH = {
    "file": f"2026-01-15 10:20:30.123456 98.53% {RECORD}",
    "before 1.10.7": f"2026-01-15 10:20:30.123456 {RECORD}",
    "with functions": "2026-01-15 10:20:30.123456 98.53% [WARNING] sofia_reg.c:1787 sofia_reg_handle_register_token() "
    + FAILURE,
    "console, coloured": f"\x1b[m\x1b[35m2026-01-15 10:20:30.123456 98.53% {RECORD}\x1b[0m",
    "syslog": f"Jan 15 10:20:30 pbx1 freeswitch[777]: 2026-01-15 10:20:30.123456 98.53% {RECORD}",
    "syslog, RFC 3339": f"2026-01-15T10:20:30.123456+00:00 pbx1 freeswitch[777]: 2026-01-15 10:20:30.123456 98.53% {RECORD}",
    "mod_fail2ban": f"A registration failed user[1000] ip[{ATTACKER}] at[2026-01-15T10:20:30.123456+0000]",
}
CASES = [("asterisk[log=all]", name, line) for name, line in ASTERISK.items()]
CASES += [("freeswitch", name, line) for name, line in FREESWITCH.items()]


@pytest.mark.parametrize(("reference", "line"), [pytest.param(r, t, id=f"{r}-{n}") for r, n, t in CASES])
@pytest.mark.parametrize("address", [ATTACKER, "2001:db8::66"], ids=["IPv4", "IPv6"])
def test_every_format_names_address_user_and_time(reference, line, address):
    """Address, user and the time in UTC, IPv6 with brackets where a port follows."""
    written = f"[{address}]:" if ":" in address else f"{address}:"
    text = line.replace(f"{ATTACKER}:", written).replace(ATTACKER, address)
    detector = Detector(read_filter(reference, [FILTERS]), clock=lambda: 1_795_300_000.0, timezone="UTC")
    (found,) = [*detector.feed(text.encode() + b"\n"), *detector.flush()]
    assert (found.host, found.user, int(found.time)) == (address, "1000", 1_768_472_430)


@pytest.mark.parametrize("text", [TEXT, FAILURE], ids=["asterisk", "freeswitch"])
def test_the_journal_brings_its_own_time(text):
    """Entries of the journal have no date before their text."""
    program = "asterisk" if text is TEXT else "freeswitch"
    body = {
        "asterisk": f"pbx1 asterisk[777]: NOTICE[4242]: {PLACE}:722 in log_failed_request: {TEXT}",
        "freeswitch": f"pbx1 freeswitch[777]: 2026-01-15 10:20:30.123456 98.53% {RECORD}",
    }[program]
    reference = "asterisk[log=all]" if program == "asterisk" else "freeswitch"
    detector = Detector(read_filter(reference, [FILTERS]))
    (found,) = [*detector.entry(body, 1_768_472_430.5), *detector.flush()]
    assert (found.host, found.time) == (ATTACKER, 1_768_472_430.5)
