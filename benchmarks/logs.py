"""Logs of any length, made from the sample logs of this project, with dates of the last minutes.

What is no attack comes from the stretches in which nobody attacks, in their own order; attack lines are spread evenly
between them, each from one of many addresses.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "logs"

RATE = 5000
"""Lines per second of the log's own clock; the last line is written now."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{3,6})?")
_ATTACK = re.compile(r"auth failure|Can't find user|\] NOTICE\[|NOTICE\[|Severity=\"Error\"|Rejected")

FREESWITCH = (
    "0000-00-00 00:00:00.000000 [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile"
    " 'internal' for [{user}@203.0.113.1] from ip {address}"
)
ASTERISK = (
    '[0000-00-00 00:00:00] SECURITY[30318] res_security_log.c: SecurityEvent="ChallengeResponseFailed",'
    'EventTV="0000-00-00T00:00:00.000+0000",Severity="Error",Service="PJSIP",EventVersion="1",AccountID="{user}",'
    'SessionID="be80fe40efe84aa206ce424b",LocalAddress="IPV4/UDP/198.51.100.1/5060",'
    'RemoteAddress="IPV4/UDP/{address}/40001",Challenge="1763762000/5f2c40a2d95f4a0b7f5c8a2e",'
    'Response="2a3cf3bb5e0d8cc4a4a1e9d0c8b1b001",ExpectedResponse=""'
)
_IDLE = re.compile(r"(?<=\.\d{6} )\d+\.\d\d% ")
"""The idle CPU that FreeSWITCH writes since 1.10.7: Debian's filter for it knows no such lines, so they go without."""


def freeswitch(path: Path, lines: int, percent: float, *, addresses: int = 1000, last: float | None = None) -> None:
    """Write FreeSWITCH's log at level debug, `percent` of whose lines are wrong passwords."""
    _write(path, lines, percent, FREESWITCH, "freeswitch-normal-debug.log", addresses, last)


def asterisk(path: Path, lines: int, percent: float, *, addresses: int = 1000, last: float | None = None) -> None:
    """Write Asterisk's full log, `percent` of whose lines are wrong passwords."""
    _write(path, lines, percent, ASTERISK, "asterisk22-full.log", addresses, last)


def address(number: int) -> str:
    """The attacker of this number. The documentation's ranges hold 762 addresses of IPv4; the rest are of IPv6, a /64 each."""
    block, host = divmod(number, 254)
    if block < 3:
        return f"{('203.0.113', '198.51.100', '192.0.2')[block]}.{host + 1}"
    return f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"


def attack_line(template: str, number: int, when: float, *, user: str = "1000") -> str:
    """One wrong password of attacker `number`."""
    return dated(template.format(user=user, address=address(number)), when)


def dated(line: str, when: float) -> str:
    """`line` with every date in it moved to `when`, in the form that it had."""
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
    fraction = f"{when % 1:.6f}"[1:]

    def moved(match: re.Match[str]) -> str:
        text = match[0]
        return f"{local[:10]}{text[10]}{local[11:]}{fraction[: len(match[1])] if match[1] else ''}"

    return _DATE.sub(moved, line)


def quiet_lines(sample: str) -> list[str]:
    """The sample's lines that tell of no attack."""
    lines = (FIXTURES / sample).read_text("utf-8", "surrogateescape").split("\n")[:-1]
    return [_IDLE.sub("", line) for line in lines if not _ATTACK.search(line)]


def _write(
    path: Path, lines: int, percent: float, template: str, sample: str, addresses: int, last: float | None
) -> None:
    quiet = quiet_lines(sample)
    heads = [bool(_DATE.search(line[:64])) for line in quiet]
    end = time.time() if last is None else last
    attacks = 0
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as log:
        for number in range(lines):
            when = end - (lines - number) / RATE
            # A server writes a record at once: nothing stands between its header and its further lines.
            if (number + 1) * percent // 100 > attacks and (percent == 100 or heads[number % len(quiet)]):
                line = attack_line(template, attacks % addresses, when, user=str(1000 + attacks % 37))
                attacks += 1
            else:
                line = dated(quiet[number % len(quiet)], when)
            log.write(line + "\n")
