"""What the tests of hostile logs share: what strangers write into their fields, and whom a log accuses."""

from __future__ import annotations

from annotations import FILTERS
from hypothesis import strategies as st
from server_lines import ATTACKER, FS_DATE, PBX, TIME, VICTIM, event

from sipguard.cli.advice import advice
from sipguard.config.filters import read_filter
from sipguard.detection.detector import Detector
from sipguard.model import Failure, Jail, LogPath

NOW = 1_795_300_000.0

filters = {}
"""Reference → filter, read once."""


def detector(reference):
    """A new detector; the filter is read once."""
    if reference not in filters:
        filters[reference] = read_filter(reference, [FILTERS])
    return Detector(filters[reference], clock=lambda: NOW, timezone="UTC")


def accused(reference, log):
    """Who is accused by a whole log, and how many of its lines were called tampered."""
    reader = detector(reference)
    events = reader.events(log.encode("utf-8", "surrogateescape") if isinstance(log, str) else log) + reader.flush()
    return {event.host for event in events if isinstance(event, Failure)}, reader.counts.tampered


def advised(reference, log, tmp_path):
    """What `check` says of a log."""
    path = tmp_path / "log"
    path.write_text(log)
    return " ".join(advice(Jail("j", read_filter(reference, [FILTERS]), logpath=(LogPath(str(path)),))))


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

NOTICE_CHANGED = {
    "display": "a\x1b",
    "method": "REGISTER",
    "user": "1",
    "callid": f"m\" <sip:1@x>' failed for '{VICTIM}:5060' (callid: z",
    "account": "ghost",
}
"""A NOTICE that an ESC in the display name has changed: the true address is gone, another stands there."""
HONEST = {"account": "ghost", "callid": "c"}
FORGED = event("InvalidAccountID", HONEST).replace(ATTACKER, VICTIM)
