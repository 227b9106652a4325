"""Real servers, their packets watched and their logs read: each server, transport and attack has a row, with figures."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from lab.asterisk_conf import PASSWORD
from lab.forged_text import SENDER, all_packets
from lab.lab import ATTACKER, PBX, PHONE
from lab.live import (
    GUESSERS,
    GUESSERS6,
    OTHERS,
    BoxedAsterisk,
    LiveKamailio,
    PlainAsterisk,
    ProxiedAsterisk,
    Watching,
)
from lab.rows import Row, not_possible, table
from lab.wire import PBX6
from lab.wire_trial import OTHER, VICTIM, is_nearly, serving
from needs import needs

pytestmark = pytest.mark.timeout(900)

GUESSES = 30
MANY = 1000
"""As many failures of one address are counted before anybody is banned."""
SPOOFED = 1000
ROUNDS = 9
SILENT = "192.0.2.99"
"""Never sends anything."""
WAYS = {
    "nonces of its own invention": ("own", OTHERS[1:2]),
    "rotating sources": ("rotating", OTHERS[2:5]),
    "two hosts share nonces": ("shared", OTHERS[5:7]),
    "a companion spoils the nonces": ("spoilt", OTHERS[7:9]),
}
_LONG = pytest.mark.long
SERVERS = [
    pytest.param((PlainAsterisk, "sid"), id="asterisk-22"),
    pytest.param((PlainAsterisk, "bullseye"), id="asterisk-16", marks=_LONG),
    pytest.param((LiveKamailio, "one time"), id="kamailio-one-time", marks=_LONG),
    pytest.param((LiveKamailio, "as it comes"), id="kamailio-as-it-comes", marks=_LONG),
    pytest.param((ProxiedAsterisk, "sid"), id="proxied"),
    pytest.param((BoxedAsterisk, "sid"), id="boxed", marks=_LONG),
]
"""A minute each: those that stand for the others run always."""


@pytest.fixture(params=SERVERS)
@needs("root", "lab")
def server(request):
    """One after another."""
    yield from serving(*request.param)


def test_table(server, tmp_path):
    """All rows hold: attempts counted once, nobody framed, phones in peace, no more guesses than without the wire."""
    rows = [
        *attempts(server, tmp_path / "counted"),
        *(row for new in (False, True) for row in spoofed(server, tmp_path / f"spoofed{new}", new=new)),
        *best_of_laws(server, tmp_path),
    ]
    told = table(rows)
    print(f"\n{told}")
    assert all(row.holds for row in rows), told


def attempts(server, folder):
    """Guesses over each transport, phones, forged text; nobody is banned meanwhile."""
    addresses = {**GUESSERS, **GUESSERS6}
    with Watching(server, folder, maxretry=MANY) as live:
        unproven = {name: guess(server, live, name, address) for name, address in addresses.items()}
        packets = text(server)
        registered, failed = phones(server)
        live.settle()
        told = {jail: live.counted(jail) for jail in live.jails}
    rows = [counted(server, told, name, address, unproven[name]) for name, address in addresses.items()]
    of_phone = sum(one.get(PHONE, 0) for one in told.values())
    note = failed or ("" if registered > 50 else "without sipp, which is not installed")
    rows.append(
        Row(
            server.title,
            "udp",
            "registrations of phones, accused",
            registered,
            of_phone,
            not (of_phone or failed),
            note,
        )
    )
    others = set().union(*told.values()) - {ATTACKER, *addresses.values()}
    rows.append(Row(server.title, "udp", "framed by text", packets, sorted(others) or 0, holds=not others))
    return rows


def guess(server, live, transport, address):
    """Guesses over one transport; gives how many of them were unproven in each jail, where nonces can be foreseen."""
    if transport in server.lacks:
        return {}
    before = {jail: live.unproven(jail) for jail in live.jails}
    where = {"server": PBX6} if ":" in address else {}
    answers = server.client("atk", "guess", GUESSES, "REGISTER", transport.rstrip("6"), source=address, **where)
    assert answers == ["401"] * GUESSES
    if not server.unpredictable:
        live.settle()
    return {jail: live.unproven(jail) - before[jail] for jail in live.jails}


def counted(server, told, transport, address, unproven):
    """What each jail has made of the guesses over one transport."""
    what = "guesses counted"
    if why := server.lacks.get(transport):
        return not_possible(server.title, transport, what, why)
    found = {jail: one.get(address, 0) + unproven[jail] for jail, one in told.items()}
    if transport == "tls":
        del found["sip"]  # which has no log
    if why := server.unnamed.get(transport):
        return Row(server.title, transport, what, GUESSES, found, holds=not any(found.values()), note=why)
    note = ""
    if any(unproven.values()):
        note = "nonces that can be foreseen: the wire alone holds back, and bans nobody"
        found = {jail: one for jail, one in found.items() if one or jail == "sip"}  # the log may name the proxy alone
    holds = all(is_nearly(one, GUESSES) for one in found.values())
    return Row(server.title, transport, what, GUESSES, found, holds, note)


def phones(server):
    """Registrations; a used nonce and one that is too old are tried first. How many, and what went wrong."""
    answers = server.client("phone", "phone", 20, "1000", PASSWORD)
    answers += server.client("phone", "phone", 2, "1000", PASSWORD, 4)
    failed = server.phones(50)
    return len(answers) + (0 if failed is None else 50), failed or ", ".join({*answers} - {"200"})


def text(server):
    """Forged text in the names of a silent address and of the phone: how many packets."""
    packets = all_packets(ATTACKER, (SILENT, PHONE))
    line = server.command("atk", sys.executable, "-c", SENDER, PBX, ATTACKER)
    subprocess.run(line, input="NEXT".join(packets).encode(), check=True, timeout=120)
    return len(packets)


def spoofed(server, folder, *, new):
    """A thousand packets in the names of others and of the phone, with the log confirmed or `new`; and a true guesser."""
    name = f"framed by spoofed packets, {'a new log' if new else 'the log confirmed'}"
    with Watching(server, folder) as live:
        note = "" if new or live.sight() else "the log cannot be confirmed: "
        assert server.client("phone", "phone", 1, "1000", PASSWORD, source=PHONE, port=5066) == ["200"]
        with ThreadPoolExecutor() as pool:
            for kind, count, victim in (
                ("invented", 400, VICTIM),
                ("borrowed", 400, OTHER),
                ("invented", 200, f"{PHONE}:5066"),
            ):
                pool.submit(server.client, "atk", kind, count, victim)
        live.settle()
        if server.jail == "kamailio" and not server.unpredictable:
            live.jails.remove(server.jail)
            note = "as without the wire its log bans whom the packets name; docs/wire.md tells what to set"
        framed = live.banned() - {ATTACKER, OTHERS[0]}
        goes_on = server.client("phone", "phone", 1, "1000", PASSWORD, source=PHONE, port=5066) == ["200"]
        rows = [Row(server.title, "udp", name, SPOOFED, sorted(framed) or 0, holds=not framed, note=note)]
        if not goes_on:
            rows.append(Row(server.title, "udp", f"{name}: the phone goes on", 1, 0, holds=False))
        return rows


def best_of_laws(server, folder):
    """The best of three: what is under way until a busy machine acts comes on top, with the wire and without it."""
    for number in range(3):
        rows = laws(server, folder / str(number))
        if all(row.holds for row in rows):
            break
    return rows


def laws(server, folder):
    """How many guesses the server judges, without the wire and with it."""
    reached = {}
    for wired in (False, True):
        with Watching(server, folder / f"law{wired}", wired=wired) as live, ThreadPoolExecutor() as pool:
            if wired:
                live.sight()
            asked = {name: pool.submit(server.client, "atk", way, ROUNDS, *them) for name, (way, them) in WAYS.items()}
            reached[wired] = {name: int(one.result()[0]) for name, one in asked.items()}
    return [
        Row(
            server.title, "udp", f"guesses judged: {name}", f"{without} without the wire", with_it,
            holds=with_it <= 1.1 * without,
        )
        for (name, without), with_it in zip(reached[False].items(), reached[True].values(), strict=True)
    ]  # fmt: skip
