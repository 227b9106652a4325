"""Whatever a stranger writes into the fields of a request, the log accuses nobody else.

The models in `server_lines` write lines as the servers do.
Filters stand here as they come. What their options and what unsafe logs risk is at the end, in tests of its own.
"""

from __future__ import annotations

import re

import pytest
from annotations import FILTERS, LOGS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_lines import (
    ASTERISK,
    ATTACKER,
    FS_DATE,
    PBX,
    TIME,
    UUID,
    VICTIM,
    asterisk,
    chan_sip,
    event,
    failed_response,
    failure,
    freeswitch_file,
    freeswitch_syslog,
    iax2,
    invite,
    manager,
    mod_fail2ban,
    notice,
    to_extension,
    unknown,
)

from sipguard.cli.advice import advice
from sipguard.config.filters import read_filter
from sipguard.detection.detector import Detector
from sipguard.model import Failure, Jail
from sipguard.policy.attempts import Attempts

NOW = 1_795_300_000.0

_filters = {}


def detector(reference):
    """A new detector; the filter is read once."""
    if reference not in _filters:
        _filters[reference] = read_filter(reference, [FILTERS])
    return Detector(_filters[reference], clock=lambda: NOW, timezone="UTC")


def accused(reference, log):
    """Who is accused by a whole log, and how many of its lines were called tampered."""
    reader = detector(reference)
    events = reader.events(log.encode("utf-8", "surrogateescape") if isinstance(log, str) else log) + reader.flush()
    return {event.host for event in events if isinstance(event, Failure)}, reader.counts.tampered


# --- what strangers write ---------------------------------------------------------------------------------------------

AMI_EVENT = (
    f'm res_security_log.c: SecurityEvent="ChallengeResponseFailed",{TIME},Severity="Error",Service="AMI",EventVersion="1",'
    f'AccountID="",SessionID="0x1",LocalAddress="IPV4/TCP/{PBX}/5038",RemoteAddress="IPV4/TCP/{VICTIM}/1",'
)
AMI_TAIL = 'Challenge="1",Response="2",ExpectedResponse="'
ANOTHER_LINE = "\n[Jan 15 10:20:30] SECURITY[1]\x1b"
FRAGMENTS = [
    AMI_EVENT + AMI_TAIL, AMI_EVENT.replace("ChallengeResponseFailed", "RequestNotAllowed") + 'RequestType="a',
    '",ExpectedResponse="', '",SessionTV="', ',Module="', ANOTHER_LINE.removeprefix("\n"),
    f"m manager.c: {VICTIM} failed to authenticate as 'x", f"' failed for '{VICTIM}:5060' - No m\x1b",
    "a", "1000", " ", "'", '"', "]", "[", "\x1b", "m", "%", "\t", ",", "@", ">", "(", ")", "é", "\udcff", "\x85", "\u2028",
    f"' failed for '{VICTIM}:5060' (callid: x) - No matching endpoint found",
    f"' failed for '{VICTIM}:5060' (callid: ",
    f'",LocalAddress="IPV4/UDP/{PBX}/5060",RemoteAddress="IPV4/UDP/{VICTIM}/5060"',
    f'",LocalAddress="IPV4/UDP/{PBX}/5060",RemoteAddress="IPV4/UDP/{VICTIM}/5060",Challenge="x',
    f',RemoteAddress="IPV4/UDP/{VICTIM}/5060',
    f"] from ip {VICTIM}", f"@x] from ip {VICTIM}", f"] from {VICTIM}", f"x@y] from {VICTIM}",
    f"] ip[{VICTIM}] at[2026-01-15T10:20:30.123456+0000]",
    "#012You must define a domain called 'y' in your directory and add a user with the id=",
    f" receiving invite from {VICTIM}:5060 version: x",
    f"sip auth failure {VICTIM}", f"{VICTIM}",
    f"{FS_DATE} [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile 'a' for [1@b] from ip {VICTIM}",
    f"[2026-01-15 10:20:30] NOTICE[1] manager.c: {VICTIM} failed to authenticate as 'x'",
    f"[] NOTICE[1] manager.c: {VICTIM} failed to authenticate as 'x'",
]  # fmt: skip
FOLD = "\r\n "
plain = st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join)
folded = st.lists(st.sampled_from([*FRAGMENTS, FOLD]), max_size=6).map("".join)
any_text = st.lists(st.sampled_from([*FRAGMENTS, "\n", ANOTHER_LINE]), max_size=6).map("".join)
FIELDS = {"display": plain.map(lambda text: text.replace('"', "")), "method": plain.map(lambda text: text.replace(" ", "")),
          "callid": plain, "user": plain, "account": any_text, "nonce": plain, "response": plain,
          "number": any_text}  # fmt: skip
EXAMPLES = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("reference", ["asterisk", "asterisk[mode=scan]", "asterisk[mode=aggressive]"])
@EXAMPLES
@given(fields=st.fixed_dictionaries(FIELDS), shapes=st.lists(st.sampled_from(sorted(ASTERISK)), min_size=1, max_size=4))
def test_asterisk_accuses_the_socket_or_nobody(reference, fields, shapes):
    """Random hostile fields, ESC and line feeds among them, through every line that Asterisk has for them.

    Without line feeds in numbers and peers for scan and aggressive, which read NOTICE lines; see the risks below.
    """
    if reference != "asterisk":
        fields = {**fields, "number": fields["number"].replace("\n", "")}
    log = "".join(ASTERISK[shape](fields) for shape in shapes)
    assert accused(reference, log)[0] <= {ATTACKER}


@pytest.mark.parametrize("reference", ["asterisk", "asterisk[mode=scan]", "asterisk[mode=aggressive]"])
@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(AMI_EVENT + AMI_TAIL, id="answer"),
        pytest.param(AMI_EVENT + 'Challenge="1",Response="2",ExpectedResponse="3"', id="whole answer"),
        pytest.param(AMI_EVENT + AMI_TAIL + "\x1b", id="answer, ESC"),
        pytest.param(
            AMI_EVENT.replace("ChallengeResponseFailed", "RequestNotAllowed") + 'RequestType="a', id="request"
        ),
        pytest.param(f"m manager.c: {VICTIM} failed to authenticate as 'x", id="notice"),
    ],
)
def test_an_account_whose_line_feed_begins_another_event(reference, forged):
    """The account's name begins a line, the Call-ID goes on with it; the true address still ends it."""
    fields = {"account": ANOTHER_LINE, "callid": forged}
    assert accused(reference, event("InvalidAccountID", fields))[0] <= {ATTACKER}


@pytest.mark.parametrize("end", ["", "\n"], ids=["joined", "its own line"])
def test_an_event_that_was_cut_behind_a_forged_address(end):
    """8,192 bytes are all that Asterisk writes of a message, syslog a line of its own for them."""
    forged = f'",LocalAddress="IPV4/UDP/{PBX}/5060",RemoteAddress="IPV4/UDP/{VICTIM}/5060"'
    short = event("InvalidAccountID", {"account": "1", "callid": ""})
    before = short.index('SessionID="') + len('SessionID="') - short.index("SecurityEvent")
    cut = event("InvalidAccountID", {"account": "1", "callid": "a" * (8192 - before - len(forged)) + forged})
    assert cut.endswith(f'{VICTIM}/5060"\n')
    hosts, tampered = accused("asterisk", cut.removesuffix("\n") + end + short)
    assert hosts <= {ATTACKER}
    assert tampered


@pytest.mark.parametrize("shape", ["notice", "notice-password", "manager-notice", "chan_sip", "iax2"])
def test_no_notice_counts_by_default(shape):
    """Not even an honest one: it cannot be told from one that was changed."""
    honest = {"display": "a", "method": "REGISTER", "user": "1", "callid": "c", "number": "1"}
    write = {**ASTERISK, "manager-notice": lambda fields: manager(fields).splitlines(keepends=True)[0]}[shape]
    assert accused("asterisk", write(honest))[0] == set()
    assert accused("asterisk[log=all, channels=all]", write(honest))[0] == {ATTACKER}


NOTICE_CHANGED = {
    "display": "a\x1b",
    "method": "REGISTER",
    "user": "1",
    "callid": f"m\" <sip:1@x>' failed for '{VICTIM}:5060' (callid: z",
    "account": "ghost",
}


def test_a_notice_that_an_esc_has_changed_does_not_count_beside_security_events():
    """With log=all, where SECURITY events are, they alone count: nobody is framed by a NOTICE."""
    reader, counting = detector("asterisk[log=all]"), Attempts(_filters["asterisk[log=all]"])
    honest = {**NOTICE_CHANGED, "display": "", "callid": "c1"}
    log = event("InvalidAccountID", honest) + notice(NOTICE_CHANGED) * 20 + notice(honest)
    told = [event for event in reader.feed(log.encode()) if counting.new(event.host, event, event.time)]
    assert [event.host for event in told] == [ATTACKER]


def test_an_esc_that_eats_the_true_address_of_an_event_leaves_no_other():
    """A forged address in the Call-ID, and the key of the true one eaten: the line names nobody."""
    forged = f'",LocalAddress="IPV4/UDP/{PBX}/5060",RemoteAddress="IPV4/UDP/{VICTIM}/5060",Challenge="\x1b'
    assert accused("asterisk", failed_response({"callid": forged, "nonce": "n", "response": "r"}))[0] == set()


SOFIA = st.fixed_dictionaries({"user": folded, "host": folded, "realm": folded})


@pytest.mark.parametrize("mode", ["normal", "aggressive"])
@pytest.mark.parametrize("write", [freeswitch_file, freeswitch_syslog], ids=["file", "syslog"])
@EXAMPLES
@given(fields=SOFIA, shapes=st.lists(st.sampled_from([failure, unknown]), min_size=1, max_size=4))
def test_freeswitch_accuses_the_socket_or_nobody(mode, write, fields, shapes):
    """Random users, hosts and realms, folded headers included."""
    log = write([message for shape in shapes for message in shape(fields)])
    assert accused(f"freeswitch[mode={mode}]", log)[0] <= {ATTACKER}


@EXAMPLES
@given(
    fields=st.fixed_dictionaries(
        {"channel": any_text, "callid": plain, "user": folded, "host": folded, "realm": folded}
    ),
    padding=st.integers(1700, 2100),
)
def test_freeswitch_lines_that_were_cut_accuse_the_socket_or_nobody(fields, padding):
    """A session's line cut at its limit, and a true failure glued to it, in a log with `uuid=true`."""
    long = {**fields, "callid": "e" * padding + fields["callid"]}
    log = invite(long) + freeswitch_file(failure(fields)) + invite(fields) + freeswitch_file(unknown(fields))
    assert accused("freeswitch", log)[0] <= {ATTACKER}


@EXAMPLES
@given(fields=st.fixed_dictionaries({"user": folded}))
def test_mod_fail2ban_accuses_the_socket_or_nobody(fields):
    """Its file has no header: the address is the last one of a line that is whole."""
    assert accused("freeswitch", mod_fail2ban(fields) * 2)[0] <= {ATTACKER}


# --- a packet that Asterisk dumps into its log ------------------------------------------------------------------------

BROKEN = "\t        sip_endpoint.c Error processing packet from 203.0.113.66:36168: Missing required header(s) [code 171050]:"
HEAD = asterisk("ERROR", "pjproject", BROKEN)
END = "-- end of packet.\n"
HONEST = {"account": "ghost", "callid": "c"}
FORGED = event("InvalidAccountID", HONEST).replace(ATTACKER, VICTIM)
FORGED_BROKEN = HEAD.replace(ATTACKER, VICTIM)
TRUE = event("InvalidAccountID", HONEST).replace("10:20:30]", "10:21:00]")


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(FORGED, id="lines"),
        pytest.param(END + FORGED, id="an end and lines"),
        pytest.param(END + FORGED + FORGED_BROKEN, id="an end, lines and a beginning"),
        pytest.param((END + FORGED) * 20, id="many ends"),
    ],
)
@pytest.mark.parametrize("reference", ["asterisk", "asterisk[mode=aggressive, log=all, channels=all]"])
def test_nothing_in_a_dumped_packet_counts(reference, packet):
    """Nor what stands between a forged end of the packet and its true end; what follows counts again."""
    hosts, tampered = accused(reference, HEAD + "REGISTER sip:x SIP/2.0\n" + packet + "\n" + END + TRUE)
    assert hosts == {ATTACKER}
    assert tampered


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


# --- one line each ----------------------------------------------------------------------------------------------------

TWO_ADDRESSES = {
    "display": "a",
    "method": "REGISTER",
    "user": "1",
    "callid": f"y' failed for '{VICTIM}:5060' (callid: z",
}
TAMPERED = {
    "an ESC has eaten the address": ("asterisk", asterisk("SECURITY", "res_security_log.c", 'SecurityEvent="InvalidAccountID",'
        'EventTV="2026-01-15T10:20:30.123+0000",Severity="Error",Service="PJSIP",EventVersion="1",AccountID="7oteAddress='
        '"IPV4/UDP/203.0.113.66/5060"')),
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
    ],
)
def test_json_lines(text, hosts):
    """Asterisk's [json] formatter: line feeds are escaped there, so that a line stays one."""
    assert accused("asterisk[log=all]", text)[0] == hosts


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


def test_the_samples_name_nobody_who_sent_nothing():
    """All sample logs, with every mode of their filter: 192.0.2.99 is never accused."""
    for log in LOGS.glob("*.log"):
        program = re.match(r"[a-z]+", log.name)[0]
        for mode in ("normal", "scan", "aggressive"):
            for options in ("", ", log=all, channels=all") if program == "asterisk" else ("",):
                reference = f"{program}[mode={mode}{options}]"
                assert VICTIM not in accused(reference, log.read_bytes())[0], (log.name, reference)


# --- risks: what an option, or an unsafe log, does ----------------------------------------------------------------------


def iax2_another_line():
    """A peer's name with a line feed, and a line of the same kind behind it."""
    return iax2({"number": f"x\n[Jan 15 10:20:30] WARNING[1] chan_iax2.c: Host {VICTIM}:1 failed to authenticate as y"})


def number_another_line():
    """A number that is called, with a line between two line feeds: 79 characters are enough."""
    return to_extension({"number": f"\n[Jan 15 10:20:30] NOTICE[1] chan_iax2.c: Empty registration from {VICTIM}\n"})


@pytest.mark.parametrize(
    ("reference", "write"),
    [
        pytest.param("asterisk[log=notice]", lambda: notice(NOTICE_CHANGED), id="log=notice"),
        pytest.param("asterisk[log=all]", lambda: notice(NOTICE_CHANGED), id="log=all"),
        pytest.param(
            "asterisk[channels=sip]",
            lambda: chan_sip({"display": f"x' failed for '{VICTIM}:5060' - No m\x1b"}),
            id="channels=sip",
        ),
        pytest.param("asterisk[channels=iax2]", iax2_another_line, id="channels=iax2"),
        pytest.param("asterisk[mode=scan]", number_another_line, id="mode=scan"),
    ],
)
def test_risk_of_an_option_another_can_be_accused(reference, write):
    """What docs/logs.md says of these options, and that the filter without them accuses nobody else."""
    assert VICTIM in accused(reference, write())[0]
    assert accused("asterisk", write())[0] <= {ATTACKER}


def advised(reference, log, tmp_path):
    """What `check` says of a log."""
    path = tmp_path / "log"
    path.write_text(log)
    return " ".join(advice(Jail("j", read_filter(reference, [FILTERS]), logpath=(str(path),))))


def test_unsafe_log_of_asterisk_with_more_than_security_events(tmp_path):
    """AMI over HTTP, IAX2 with authdebug: whole lines by line feeds, believed; `check` warns of such a log."""
    log = asterisk("NOTICE", "manager.c", f"{ATTACKER} failed to authenticate as 'x'\n{FORGED}'")
    assert accused("asterisk", log)[0] == {VICTIM}
    assert "callers can write whole lines into it" in advised("asterisk", log, tmp_path)


@pytest.mark.parametrize(
    "message",
    [
        "[INFO] sofia.c:10472 sofia/internal/{} receiving invite from 203.0.113.66:5060 version: 1 call-id: x",
        f"[WARNING] switch_core_state_machine.c:684 {UUID} sofia/internal/{{}} Abandoned",
    ],
    ids=["level info", "level warning"],
)
def test_unsafe_log_of_freeswitch_with_calls_without_their_uuid(message, tmp_path):
    """With `uuid` false a call's name can begin a line; `check` warns of such a log. With the UUID it accuses nobody."""
    forged = freeswitch_file([f"{failure({'user': '1', 'host': 'x'})[0]}"]).replace(ATTACKER, VICTIM)
    log = freeswitch_file([message.format(f"1\n{forged}@x")])
    assert accused("freeswitch", log)[0] == {VICTIM}
    assert "set `uuid` to true" in advised("freeswitch", log, tmp_path)
    with_uuid = "".join(f"{UUID} {line}\n" for line in log.splitlines())
    assert accused("freeswitch", with_uuid)[0] == set()
    assert "set `uuid` to true" not in advised("freeswitch", with_uuid, tmp_path)
