"""Fuzzes the readers of the servers' events, guided by coverage (atheris): `python tests/fuzz_events.py -max_total_time=600`.

Ends with a status other than 0 when anything but a refusal leaves a reader or its table, a reader holds more than its limit,
more than the known commands would be sent, or an input takes longer than a second. `EVENTS=freeswitch` or `asterisk` takes one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

with atheris.instrument_imports(include=["sipguard"]):
    from sipguard.detection.events.table import EventTable
    from sipguard.secret import Secret
    from sipguard.sources import asterisk_events, freeswitch_events
    from sipguard.sources.asterisk_events import AsteriskDialogue
    from sipguard.sources.event_dialogue import RefusedError
    from sipguard.sources.freeswitch_events import FreeSwitchDialogue

SERVERS = [os.environ["EVENTS"]] if "EVENTS" in os.environ else ["freeswitch", "asterisk"]
TABLES = {name: EventTable.read(ROOT / f"filters/events/{name}.toml") for name in SERVERS}
LOGIN = {
    "freeswitch": b"Content-Type: auth/request\n\n" + b"Content-Type: command/reply\nReply-Text: +OK\n\n" * 2,
    "asterisk": (
        b"Asterisk Call Manager/8.0.2\r\nResponse: Success\r\n\r\nEvent: SuccessfulAuth\r\nPrivilege: security,all\r\n"
        b"EventTV: 2026-11-28T07:58:20.914+0000\r\nSeverity: Informational\r\nService: AMI\r\nEventVersion: 1\r\n"
        b"AccountID: u\r\nSessionID: 0x1\r\nLocalAddress: IPV4/TCP/0.0.0.0/5038\r\n"
        b"RemoteAddress: IPV4/TCP/127.0.0.1/1\r\nUsingPassword: 0\r\n\r\n"
    ),
}
COMMANDS = (b"", b"auth p\n\n", b"event json ", b"auth p\n\nevent json ", b"Action: Login\r\nUsername: u\r\n")


def fuzz(data: bytes) -> None:
    """One session: the first byte says with whom, and whether the login is over; `FE ED` cuts it into reads."""
    kind, data = data[:1], data[1:]
    name = SERVERS[(kind or b"\0")[0] % len(SERVERS)]
    dialogue = (
        FreeSwitchDialogue(Secret("p"), {"a": [], "sofia::register": ["network-ip"]})
        if name == "freeswitch"
        else AsteriskDialogue("u", Secret("p"))
    )
    if kind >= b"\x40":
        dialogue.take(LOGIN[name])
    for piece in data.split(b"\xfe\xed"):
        try:
            events, answer = dialogue.take(piece)
        except RefusedError:
            return
        if not answer.startswith(COMMANDS[1:] if answer else b""):
            raise AssertionError(answer)
        for event in events:
            TABLES[name].event_of(event, 1795825990.0)
        held = dialogue._frames._buffer if name == "freeswitch" else dialogue._blocks._buffer
        if len(held) > max(freeswitch_events.LARGEST, asterisk_events.LARGEST) + 8192:
            raise AssertionError(len(held))


if __name__ == "__main__":
    atheris.Setup([*sys.argv, "-timeout=1", "-max_len=8192"], fuzz)
    atheris.Fuzz()
