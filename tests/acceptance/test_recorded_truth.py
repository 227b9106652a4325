"""FreeSWITCH's log of a recorded attack against what each client did: every source is explained."""

from __future__ import annotations

import gzip
from collections import Counter

from annotations import ROOT
from test_sip_replay import counted, replay

WIRE = ROOT / "fixtures" / "wire"
SPOOFED = {"203.0.113.91": 6}
"""Wrote with somebody else's nonce under a third one's address: no log can tell that; with the wire they are unproven."""
SILENT = {
    "203.0.113.70": "SUBSCRIBE: FreeSWITCH logs no wrong password there",
    "203.0.113.71": "MESSAGE: the same",
    "203.0.113.73": "calls at a port without authentication",
    "203.0.113.76": "challenges alone",
    "203.0.113.77": "invented nonces: the password was not judged",
    "203.0.113.78": "challenges alone",
    "203.0.113.82": "OPTIONS",
    "203.0.113.83": "no SIP",
    "203.0.113.84": "calls to nowhere",
    "203.0.113.90": "invented nonces under its address",
}
PHONES = {"203.0.113.20", "203.0.113.22", "2001:db8:113::20"}


def truth():
    """Rows: time, address, transport, port, method, user, what, answers."""
    return [line.split("\t") for line in (WIRE / "freeswitch-1.11.truth.tsv").read_text().splitlines()]


def test_every_source_is_explained(tmp_path):
    """Who was answered 403 is counted as often, once for what was sent four times; all others for nothing."""
    log = tmp_path / "freeswitch.log"
    log.write_bytes(gzip.decompress((WIRE / "freeswitch-1.11.log.gz").read_bytes()))
    refused = Counter(row[1] for row in truth() if row[7].endswith("403"))
    rows, _ = replay("freeswitch", log)
    assert counted(rows) == dict(refused) | SPOOFED
    assert {row[1] for row in truth()} - rows.keys() == SILENT.keys() | PHONES
