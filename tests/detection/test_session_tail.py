"""The tails of session messages: the quick look says the same as a walk over every line, and exactly what may be a tail."""

import random
from functools import cache

import pytest
from annotations import FILTERS
from effort import part

from sipguard.config.filters import read_filter
from sipguard.detection import session_tail
from sipguard.detection.record_rule import RecordRule
from sipguard.detection.session_tail import BYTES, LINES, SessionTail

LINE = RecordRule(read_filter("freeswitch", [FILTERS])).session
SESSIONS = [f"{n:08x}-1111-2222-3333-444444444444" for n in range(2)]
DATED = "2026-11-28 10:00:00.000000 a message"
OTHERS = "2026-11-28 10:00:00.000000 another's"


def log(seed):
    """Runs of session lines around the hundred, raw lines, dated ones, in any order; some are cut, and the next hangs there."""
    pick = random.Random(seed)
    lines = []
    while len(lines) < 900:
        session = pick.choice(SESSIONS)
        match pick.randrange(5):
            case 0:
                run = [
                    f"{session} {'x' * pick.randrange(12)}"
                    for _ in range(pick.choice([1, 30, 98, 99, 99, 99, 100, 101]))
                ]
                for _ in range(pick.choice([0, 1, 5, 100])):
                    run[pick.randrange(len(run))] = f"{session} {DATED}"
                lines += [f"{session} {DATED}", *run]
                lines += [f"raw {'x' * pick.randrange(120)}" for _ in range(pick.randrange(12))]
            case 1:
                lines += [f"raw {'x' * pick.randrange(120)}" for _ in range(pick.randrange(12))]
            case 2:
                lines.append(f"{session} {DATED}")
            case 3 if lines:
                lines[pick.randrange(max(len(lines) - 100, 0), len(lines))] = f"{session} {'x' * BYTES}"
            case _:
                lines.append(OTHERS)
    written = "".join(f"{line}\n"[: BYTES if line.startswith(tuple(SESSIONS)) else None] for line in lines)
    return [f"{line}\n".encode() for line in written.removesuffix("\n").split("\n")]


def covered(lines, chunk, asked):
    """Which of the lines that are `asked` about may be tails, the log coming in chunks of so many lines."""
    tail, found = SessionTail(LINE), []
    for start in range(0, len(lines), chunk):
        data, begin = b"".join(lines[start : start + chunk]), 0
        for number in range(start, min(start + chunk, len(lines))):
            if number in asked and tail.covers(data, begin):
                found.append(number)
            begin += len(lines[number])
        tail.end(data)
    return found


@cache
def may_be_tails(seed):
    """The same of a whole log by a walk over every write, which begins a line or hangs on one that was cut."""
    writes, found, place = [], [], 0
    for number, line in enumerate(log(seed)):
        found += [number] if is_tail(writes, session_of(line), place) else []
        rest = line
        while rest:
            session = session_of(rest)
            # What hangs on the tail of another message is a header.
            hanging = [at for each in SESSIONS if (at := rest.find(f"{each} 2026-".encode())) > 0]
            size = min([BYTES, len(rest)] if session else [*hanging, len(rest)])
            writes.append((session, rest[37:41] == b"2026", place))
            place, rest = place + size, rest[size:]
    return found


def session_of(line):
    """That whose line it is; empty if it is none's."""
    return next((each for each in SESSIONS if line.startswith(f"{each} ".encode())), "")


def is_tail(writes, session, begin):
    """Whether the hundredth write of a message of another session stands before that place, within reach."""
    behind = {session}
    for at in range(len(writes) - 1, -1, -1):
        if begin - writes[at][2] >= BYTES:
            break
        one, is_dated, _ = writes[max(at - LINES + 1, 0)]
        hundred = {each for each, _, _ in writes[max(at - LINES + 1, 0) : at + 1]} if is_dated and one else set()
        if hundred == {one} and at + 1 >= LINES and one not in behind:
            return True
        behind.add(writes[at][0])
    return False


@pytest.mark.more
@pytest.mark.parametrize("seed", range(part(40)))
@pytest.mark.parametrize("chunk", [1, 70, 400, 10_000])
def test_the_quick_look(seed, chunk, monkeypatch):
    """However the log is cut into chunks, and whichever lines are asked about."""
    lines = log(seed)
    asked = set(random.Random(seed).sample(range(len(lines)), 60)) | {
        number + 1 for number in range(LINES, len(lines)) if lines[number].startswith(b"raw")
    }
    quick = covered(lines, chunk, asked)
    assert quick == [number for number in may_be_tails(seed) if number in asked]
    monkeypatch.setattr(session_tail.SessionTail, "_session_of_hundred", lambda *_: b"")
    monkeypatch.setattr(session_tail.SessionTail, "_is_broken", lambda *_: False)
    assert quick == covered(lines, chunk, asked)


def test_there_are_such():
    """In so many logs, and not everywhere."""
    found = [len(may_be_tails(seed)) for seed in range(40)]
    assert sum(each > 0 for each in found) > 10
    assert max(found) < 300


@pytest.mark.parametrize(
    ("end", "is_tail"),
    [(f"name [{SESSIONS[0]}]", False), (f"variable_uuid: [{SESSIONS[0]}]", True), ("name [x]", True)],
)
def test_the_session_in_brackets(end, is_tail):
    """It ends a message of the server; as a value in a list it does not."""
    lines = [f"{SESSIONS[0]} {DATED}", *[f"{SESSIONS[0]} x"] * (LINES - 1), f"raw {end}", "raw", "raw"]
    encoded = [f"{line}\n".encode() for line in lines]
    assert covered(encoded, 10_000, {LINES, LINES + 1}) == [LINES] + [LINES + 1] * is_tail
