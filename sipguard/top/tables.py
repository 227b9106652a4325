"""Rows of the live view, made of what the daemon answers. What strangers wrote is made printable here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sipguard.model import BY_HAND
from sipguard.text import in_words, short, span

MOST = 200
"""Rows of a table: more are found by searching."""


class Row(NamedTuple):
    """One line of a table."""

    key: str
    """What stays when it is shown anew."""
    cells: tuple[str, ...]
    address: str = ""
    """What it is about, if that is an address."""
    state: str = ""
    """`good`, `warn`, `bad`, or nothing."""


class Told(NamedTuple):
    """All that was answered at one moment."""

    overview: Mapping[str, Any]
    bans: Mapping[str, Any]
    """A page of them."""
    counting: Mapping[str, Mapping[str, int]]
    """Jail → address that is not banned → attempts."""
    feeds: Iterable[Mapping[str, Any]]
    others: Mapping[str, Any]


class Table(NamedTuple):
    """One of the tables."""

    title: str
    columns: tuple[str, ...]
    rows: list[Row]
    more: int = 0
    """How many rows there are beside these."""


def tables(told: Told, search: str = "") -> list[Table]:
    """Every table, in the order in which they are shown; with `search`, the rows that hold it."""
    made = [_bans(told), _attackers(told), _users(told), _jails(told), _feeds(told), _fleet(told)]
    wanted = search.casefold()
    return [_cut(table, wanted) for table in made]


def _cut(table: Table, wanted: str) -> Table:
    rows = [row for row in table.rows if not wanted or any(wanted in cell.casefold() for cell in row.cells)]
    return table._replace(rows=rows[:MOST], more=table.more + max(0, len(rows) - MOST))


def _bans(told: Told) -> Table:
    now, page = told.overview["now"], told.bans
    rows = [
        Row(
            f"{ban['jail']} {ban['address']}",
            (
                ban["address"], short(ban["jail"], 16), span(None if ban["until"] is None else ban["until"] - now),
                str(ban["attempts"]), ban["evidence"] or "", "" if ban["packets"] is None else str(ban["packets"]),
                short(" ".join(map(str, ban["users"])) or in_words(ban["reason"]), 24),
            ),
            ban["address"],
        )
        for ban in page["bans"]
    ]  # fmt: skip
    columns = ("address", "jail", "left", "attempts", "evidence", "packets", "users")
    return Table("bans", columns, rows, page["total"] - len(rows))


def _attackers(told: Told) -> Table:
    limits = {jail["name"]: jail["maxretry"] for jail in told.overview["jails"]}
    counted = [(count, jail, address) for jail, each in told.counting.items() for address, count in each.items()]
    rows = [
        Row(f"{jail} {address}", (address, short(jail, 16), f"{count} of {limits.get(jail, '?')}"), address, "warn")
        for count, jail, address in sorted(counted, key=lambda one: (-one[0], one[2]))
    ]
    return Table("attackers", ("address", "jail", "failures"), rows)


def _users(told: Told) -> Table:
    tried: Counter[str] = Counter()
    jails: dict[str, set[str]] = {}
    for ban in told.bans["bans"]:
        for user in ban["users"]:
            tried[user] += 1
            jails.setdefault(user, set()).add(ban["jail"])
    rows = [
        Row(f"user {user!r}", (short(user, 40), str(count), short(" ".join(sorted(jails[user])), 24)))
        for user, count in tried.most_common()
    ]
    return Table("users", ("user under attack", "banned attackers", "jails"), rows)


def _jails(told: Told) -> Table:
    rows = []
    for jail in told.overview["jails"]:
        events, totals = jail["events"], jail["totals"]
        reads = sum(not problem for problem in jail["logs"].values()) + bool(events and events["speaks"])
        is_wrong = jail["problem"] or not (reads or jail["source"] == "wire" or jail["name"] == BY_HAND)
        numbers = (totals["failures"], jail["counting"], jail["banned"], totals["bans"])
        cells = (short(jail["name"], 20), *map(str, numbers), short(jail["problem"] or "", 60))
        rows.append(Row(jail["name"], cells, state="bad" if is_wrong else "good"))
    return Table("jails", ("jail", "failures", "counting", "banned", "bans", "problem"), rows)


def _feeds(told: Told) -> Table:
    now = told.overview["now"]
    rows = []
    for feed in told.feeds:
        wrong = feed["held"] or feed["problem"] or ""
        fetched = f"{span(now - feed['fetched'])} ago" if feed["fetched"] else "never"
        cells = (short(feed["name"], 20), str(feed["entries"]), fetched, short(wrong, 60))
        rows.append(Row(feed["name"], cells, state="warn" if wrong else "good"))
    return Table("feeds", ("feed", "entries", "fetched", "problem"), rows)


def _fleet(told: Told) -> Table:
    now, fleet = told.overview["now"], told.others.get("fleet") or {}
    rows = []
    for node in fleet.get("nodes", ()):
        heard = f"{span(now - node['heard'])} ago" if node["heard"] else "never"
        cells = (short(node["name"], 24), heard, str(node["bans"]), short(node["held"] or "", 60))
        rows.append(Row(node["name"], cells, state="warn" if node["held"] else "good"))
    return Table("fleet", ("node", "heard", "bans", "held"), rows)
