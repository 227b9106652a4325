"""Packets that are dumped into a log, and lines that were written into: counted as tampered, never accusing."""

from __future__ import annotations

import re

import pytest
from annotations import LOGS
from server_lines import (
    ATTACKER,
    FS_DATE,
    PBX,
    UUID,
    VICTIM,
    as_json,
    asterisk,
    event,
    notice,
)
from strangers import (
    FORGED,
    HONEST,
    accused,
    advised,
    detector,
)

BROKEN = "\t        sip_endpoint.c Error processing packet from 203.0.113.66:36168: Missing required header(s) [code 171050]:"
HEAD = asterisk("ERROR", "pjproject", BROKEN)
END = "-- end of packet.\n"
AS_JSON = as_json(FORGED)
FORGED_BROKEN = HEAD.replace(ATTACKER, VICTIM)
TRUE = event("InvalidAccountID", HONEST).replace("10:20:30]", "10:21:00]")


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(FORGED, id="lines"),
        pytest.param(END + FORGED, id="an end and lines"),
        pytest.param(END + FORGED + FORGED_BROKEN, id="an end, lines and a beginning"),
        pytest.param((END + FORGED) * 20, id="many ends"),
        pytest.param(AS_JSON * 5, id="JSON"),
        pytest.param((END + AS_JSON) * 5, id="an end and JSON"),
    ],
)
@pytest.mark.parametrize("reference", ["asterisk", "asterisk[mode=aggressive, log=all, channels=all]"])
def test_nothing_in_a_dumped_packet_counts(reference, packet):
    """Nor what stands between a forged end of the packet and its true end; what follows counts again."""
    hosts, tampered = accused(reference, HEAD + "REGISTER sip:x SIP/2.0\n" + packet + "\n" + END + TRUE)
    assert hosts == {ATTACKER}
    assert tampered


LOGGED = asterisk(
    "VERBOSE", "res_pjsip_logger.c", "<--- Received SIP request (60000 bytes) from UDP:192.0.2.1:5060 --->"
)


@pytest.mark.parametrize("report", [HEAD, LOGGED], ids=["broken", "logged"])
@pytest.mark.parametrize("write", [lambda fields: event("InvalidAccountID", fields), notice], ids=["event", "notice"])
def test_words_of_a_report_in_a_call_id_silence_nothing(write, report):
    """They begin no packet, in whatever line they stand."""
    fields = {"display": "", "method": "REGISTER", "user": "1", "account": "1", "callid": report.removesuffix("\n")}
    log = asterisk("NOTICE", "app.c", "x") + write(fields) + event("InvalidAccountID", HONEST)
    assert accused("asterisk", log)[0] == {ATTACKER}


def test_a_packet_does_not_silence_the_log_for_long():
    """What is held behind a packet is read when as much has come as a packet can hold."""
    reader = detector("asterisk")
    fill = asterisk("NOTICE", "app.c", "x" * 200)
    events = reader.events((HEAD + END + fill * 400 + TRUE).encode())
    assert [event.host for event in events] == [ATTACKER]


def test_a_logged_packet_is_skipped_by_its_size():
    """`pjsip set logger on`: exactly as many bytes as the report says are the packet's."""
    packet = f"REGISTER sip:x SIP/2.0\n{FORGED}"
    report = f"<--- Received SIP request ({len(packet)} bytes) from UDP:{ATTACKER}:5060 --->"
    log = asterisk("VERBOSE", "res_pjsip_logger.c", report) + packet + TRUE
    assert accused("asterisk", log)[0] == {ATTACKER}


TWO_ADDRESSES = {
    "display": "a",
    "method": "REGISTER",
    "user": "1",
    "callid": f"y' failed for '{VICTIM}:5060' (callid: z",
}
TAMPERED = {
    "an event was dropped": ("asterisk", asterisk("ERROR", "security_events.c", "Failed to issue security event of type X.")),
    "the NOTICE has lost its address": ("asterisk[log=notice]", asterisk("NOTICE", "res_pjsip/pjsip_distributor.c",
        "Request 'REGISTER' from '\"atching endpoint found")),
    "two addresses in a NOTICE": ("asterisk[log=notice]", notice(TWO_ADDRESSES)),
    "an authentication with a UUID": ("freeswitch", f"{UUID} {FS_DATE} [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) "
        f"on sofia profile 'internal' for [1000@x] from ip {VICTIM}\n"),
    "a call with two addresses": ("freeswitch[mode=scan]", f"{UUID} {FS_DATE} [INFO] sofia.c:10472 sofia/internal/a receiving "
        f"invite from {VICTIM}:1 version: x receiving invite from {ATTACKER}:5060 version: 1.11.2 call-id: y\n"),
    "our word where it is not ours": ("kamailio", "Jan 15 10:20:30 pbx1 kamailio[1]: ERROR: <core> bad message: sipguard: "
        f"auth-failed from {VICTIM} user=1\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_lines_that_were_written_into_are_counted_and_accuse_nobody(name):
    """`tampered` in `status` and `replay`: an alarm without an address."""
    reference, line = TAMPERED[name]
    hosts, tampered = accused(reference, line)
    assert not hosts
    assert tampered == 1


JSON = (
    '{"hostname":"pbx1","timestamp":"2026-01-15 10:20:30","identifiers":{"lwp":4242,"callid":""},"logmsg":{"location":'
    '{"filename":"res_pjsip/pjsip_distributor.c","function":"log_failed_request","line":722},"level":"NOTICE","message":'
    "\"Request 'REGISTER' from '%s<sip:1000@192.0.2.10>' failed for '203.0.113.66:5060' (callid: 2852) - Failed to "
    'authenticate\\n"}}\n'
)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        pytest.param(JSON % "", {ATTACKER}, id="as it is"),
        pytest.param(JSON % "\\n[2026-01-15 10:20:30] NOTICE[1] ", {ATTACKER}, id="a line feed"),
        pytest.param(JSON.replace('"NOTICE"', "null") % "", set(), id="not Asterisk's object"),
        pytest.param("{" + JSON % "", set(), id="not JSON"),
        pytest.param("{" * 100_000 + "\n", set(), id="deep"),
        pytest.param((JSON % "")[:200] + "\n", set(), id="cut"),
    ],
)
def test_json_lines(text, hosts):
    """Asterisk's [json] formatter: line feeds are escaped there, so that a line stays one."""
    assert accused("asterisk[log=all]", text)[0] == hosts


def test_json_that_was_cut_is_counted_as_tampered():
    """As everything that was cut: an alarm without an address."""
    assert accused("asterisk", as_json(FORGED)[:200] + "\n") == (set(), 1)


def test_freeswitch_json():
    """`console json on`: levels as numbers, time in microseconds."""
    message = "SIP auth failure (REGISTER) on sofia profile 'internal' for [1000@192.0.2.10] from ip 203.0.113.66"
    line = f'{{"timestamp":1768472430123456,"level":4,"file":"sofia_reg.c","line":1787,"message":"{message}"}}\n'
    reader = detector("freeswitch")
    (found,) = reader.feed(line.encode())
    assert (found.host, found.time) == (ATTACKER, 1768472430)


def success(user, level="SECURITY"):
    """A login as Asterisk tells of it."""
    return asterisk(
        level, "res_security_log.c", f'SecurityEvent="SuccessfulAuth",EventTV="2026-01-15T10:20:30.123+0000",Severity='
        f'"Informational",Service="PJSIP",EventVersion="1",AccountID="{user}",SessionID="f6",LocalAddress="IPV4/UDP/{PBX}/5060",'
        f'RemoteAddress="IPV4/UDP/{ATTACKER}/5060",UsingPassword="1"',
    )  # fmt: skip


def test_successes_are_believed_in_a_log_of_security_events_alone():
    """One line of another level, and nothing that follows can speak for anybody."""
    reader = detector("asterisk")
    assert len(reader.events(success("1000").encode())) == 1
    assert not reader.events((asterisk("NOTICE", "app.c", "x") + success("1000")).encode())


@pytest.mark.parametrize("mode", ["normal", "scan", "aggressive"])
@pytest.mark.parametrize("log", sorted(LOGS.glob("*.log")), ids=lambda log: log.stem)
def test_the_samples_name_nobody_who_sent_nothing(log, mode):
    """All sample logs, with every mode of their filter: 192.0.2.99 is never accused."""
    program = re.match(r"[a-z]+", log.name)[0]
    for options in ("", ", log=all, channels=all") if program == "asterisk" else ("",):
        reference = f"{program}[mode={mode}{options}]"
        assert VICTIM not in accused(reference, log.read_bytes())[0], reference


@pytest.mark.parametrize("longest", [8192, 2048, 1024])
def test_a_call_id_in_front_of_our_line(longest, tmp_path):
    """`log_prefix` may hold the Call-ID. Cut by syslog behind a forged line of ours in it, the line accuses nobody."""
    prefix = "Jan 15 10:20:30 pbx1 kamailio[1]: ALERT: {{1 1 REGISTER {}}} <script>: "
    line = prefix + "sipguard: auth-failed from {} user=1 ua=x id={}\n"
    forged = f"}} <script>: sipguard: auth-failed from {VICTIM} user=1 ua=x id={'0' * 32}"
    filler = "c" * (longest - len(prefix.partition("{}}}")[0].format()) - len(forged))
    cut = line.format(filler + forged, ATTACKER, "1" * 32)[:longest] + "\n"
    assert cut.endswith(f"id={'0' * 32}\n")
    assert accused("kamailio", cut) == (set(), 1)
    assert "limit log_prefix" in advised("kamailio", cut, tmp_path)
    assert accused("kamailio", line.format("c" * 200 + forged, ATTACKER, "1" * 32))[0] == {ATTACKER}


@pytest.mark.parametrize(
    ("program", "place"),
    [
        ("kamailio", "{1 2 REGISTER c} <core> [core/pvapi.c:1503]: pv_printf_mode()"),
        ("kamailio", "<core> [core/pvapi.c:1206]: pv_printf()"),
        ("opensips", "core:pv_printf"),
    ],
)
def test_a_line_that_was_too_long_for_xlog(program, place, tmp_path):
    """It has no address, and is not written at all: what the server says instead is told, and `check` says what to do."""
    log = f"Jan 15 10:20:30 pbx1 {program}[1]: ERROR: {place}: buffer overflow -- increase the buffer size...\n"
    assert accused(program, log) == (set(), 1)
    assert f"limit what callers write, as docs/{program}.md does" in advised(program, log, tmp_path)
