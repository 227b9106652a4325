"""`sipguard replay` of a log together with a capture of the same time: a line counts as far as the packets confirm it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tree_of_fail2ban import write_tree

from sipguard.cli.replay import command

WIRE = Path(__file__).parents[2] / "fixtures" / "wire"
LOG, CAPTURE = WIRE / "freeswitch-1.11.log.gz", WIRE / "freeswitch-1.11.pcap.gz"
CONFIRMED = {66: 12, 67: 10, 68: 10, 69: 8, 72: 6, 74: 8, 75: 8, 79: 1, 81: 4, 21: 1, 30: 5}
"""Last byte → guesses that the log tells of, and the wire proves."""
WIRE_ALONE = {70: 8, 71: 8, 80: 6}
"""SUBSCRIBE and MESSAGE leave no line; of .80 one guess does not."""
SILENT = ("203.0.113.90", "203.0.113.91", "192.0.2.99", "198.51.100.7", "2001:db8:ffff::1")
PHONES = ("203.0.113.20", "203.0.113.22", "2001:db8:113::20")


def replay(*files, options=()):
    """What the command prints, as objects: addresses, and the summary."""
    result = CliRunner().invoke(command, ["--json", "--jail", "freeswitch", *options, *map(str, files)])
    assert result.exit_code == 0, result.output
    *stories, summary = [json.loads(line) for line in result.stdout.splitlines()]
    return {story["address"]: story for story in stories}, summary


def forged(address, time="2026-11-28 00:32:38.107081", user="1001"):
    """A line as FreeSWITCH writes it."""
    return (
        f"{time} 71.20% [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile 'internal' "
        f"for [{user}@203.0.113.1] from ip {address}\n"
    )


def with_lines(path, lines):
    """The recorded log with further lines, each where its time belongs."""
    recorded = gzip.decompress(LOG.read_bytes()).decode().splitlines(keepends=True)
    for line in lines:
        place = next(n for n, one in enumerate(recorded) if one[:4] == "2026" and one[:26] > line[:26])
        recorded.insert(place, line)
    path.write_text("".join(recorded))
    return path


def test_true_lines_are_confirmed():
    """Each guess counts once, proven; what the log says of .91, who never sent a packet, is charged to .78."""
    stories, summary = replay(LOG, CAPTURE)
    assert {n: stories[f"203.0.113.{n}"]["proven"] for n in CONFIRMED | WIRE_ALONE} == CONFIRMED | WIRE_ALONE
    assert stories["2001:db8:113::66"]["proven"] == 8
    assert {n: stories[f"203.0.113.{n}"]["lines"] for n in CONFIRMED if n != 68} == {
        n: count for n, count in CONFIRMED.items() if n != 68
    }
    assert stories["203.0.113.68"]["lines"] == 20  # two of each guess at a user that does not exist
    lender = stories["203.0.113.78"]
    assert (lender["lent"], lender["attempts"], lender["lines"]) == (6, 6, 6)
    assert lender["banned_at"]
    assert "203.0.113.91" not in stories
    assert summary["contradicted"] == 0
    assert summary["confirmed"] == 92
    assert summary["reported"] == {}
    assert not any(story["reported"] for story in stories.values())


def test_capture_and_log_in_any_order():
    """Which is named first does not matter."""
    assert replay(LOG, CAPTURE) == replay(CAPTURE, LOG)


@pytest.mark.parametrize("address", SILENT)
def test_forged_lines_for_the_silent(tmp_path, address):
    """Whoever has sent nothing is not accused by twenty lines; the log is what is contradicted."""
    times = [f"2026-11-28 00:32:3{n}.{m}07081" for n in (5, 6, 7, 8) for m in range(5)]
    honest, _ = replay(LOG, CAPTURE)
    stories, summary = replay(with_lines(tmp_path / "forged.log", [forged(address, time) for time in times]), CAPTURE)
    if address in {"203.0.113.90", "203.0.113.91"}:
        # In their names .78 has sent packets, so that is not silence: nothing is proven, and nobody is banned either.
        assert not stories[address]["banned_at"]
        assert stories[address]["unproven"] >= 20 - 6
    else:
        assert summary["contradicted"] == stories[address]["contradicted"] == 20
        assert (stories[address]["attempts"], stories[address]["banned_at"]) == (0, None)
    others = {name: story for name, story in stories.items() if name != address}
    assert others == {name: story for name, story in honest.items() if name != address}


@pytest.mark.parametrize("address", PHONES)
def test_forged_lines_for_phones(tmp_path, address):
    """A phone that talks to the server, and has failed at nothing, is not accused by twenty lines."""
    times = [f"2026-11-28 00:32:3{n}.{m}07081" for n in (4, 5, 6, 7) for m in range(5, 10)]
    lines = [forged(address, time, "1000") for time in times]
    stories, summary = replay(with_lines(tmp_path / "forged.log", lines), CAPTURE)
    if ":" not in address:  # that one's network is banned for ::66
        assert stories[address]["banned_at"] is None
    assert stories[address]["attempts"] == 0
    assert stories[address]["unproven"] == 20
    assert summary["contradicted"] == 0


def test_five_lines_for_one_attempt(tmp_path):
    """.21 has failed once: five more lines about it make it no five."""
    lines = [forged("203.0.113.21", f"2026-11-28 00:32:35.0{n}7081", "1002") for n in range(6, 7)] * 5
    stories, _ = replay(with_lines(tmp_path / "forged.log", lines), CAPTURE)
    story = stories["203.0.113.21"]
    assert (story["attempts"], story["proven"], story["unproven"], story["banned_at"]) == (1, 1, 5, None)


def test_a_jail_of_a_tree(tmp_path):
    """Fail2ban's filter does not say which lines are no SIP: those of the event socket count as without the capture."""
    refused = (
        '2026-11-28 00:32:38.107081 71.20% [WARNING] mod_event_socket.c:2959 IP 198.51.100.8 Rejected by acl "lan"\n'
    )
    log = with_lines(tmp_path / "both.log", [refused] * 6 + [forged("198.51.100.7")] * 6)
    stories, summary = replay(log, CAPTURE, options=write_tree(tmp_path, log))
    assert summary["contradicted"] == stories["198.51.100.7"]["contradicted"] == 6
    assert summary["reported"] == {"it is not about SIP": 6}
    assert stories["198.51.100.8"]["banned_at"]
    assert stories["198.51.100.7"]["banned_at"] is None


def test_lines_of_another_time(tmp_path):
    """The capture does not reach to an hour later: what the log says of then counts as without it, and that is said."""
    log = tmp_path / "two.log"
    lines = [forged("198.51.100.7", f"2026-11-28 01:32:3{n}.107081") for n in range(6)]
    log.write_bytes(gzip.decompress(LOG.read_bytes()) + "".join(lines).encode())
    stories, summary = replay(log, CAPTURE)
    assert (stories["198.51.100.7"]["reported"], stories["198.51.100.7"]["attempts"]) == (6, 6)
    assert stories["198.51.100.7"]["banned_at"]
    assert (
        summary["reported"] == {"the line is older than the wire's memory": 0} or sum(summary["reported"].values()) == 6
    )


def test_half_a_capture():
    """What lacks every second message contradicts nothing: whoever the log bans is banned as without it."""
    alone, _ = replay(LOG)
    result = CliRunner().invoke(
        command, ["--json", "--jail", "freeswitch", str(LOG), str(WIRE / "freeswitch-1.11-hep.pcap.gz")]
    )
    assert result.exit_code == 0, result.output
    *stories, summary = [json.loads(line) for line in result.stdout.splitlines()]
    assert summary["contradicted"] == 0
    banned = {story["address"] for story in stories if story["banned_at"]}
    assert banned >= {address for address, story in alone.items() if story["banned_at"]}


def test_plain_report(tmp_path):
    """What a person reads."""
    log = with_lines(tmp_path / "forged.log", [forged("198.51.100.7")] * 5)
    result = CliRunner().invoke(command, ["--jail", "freeswitch", str(log), str(CAPTURE)])
    assert "2472 lines and 863 packets" in result.stdout
    assert "6 lent" in result.stdout
    assert "5 lines accuse addresses that have sent nothing: they count for nobody" in result.stdout
