"""The tails of session messages: the quick look says the same as the walk over every line."""

import random

import pytest
from annotations import FILTERS

from sipguard.config.filters import read_filter
from sipguard.detection import session_tail
from sipguard.detection.record_rule import RecordRule
from sipguard.detection.session_tail import BYTES, LINES, SessionTail

LINE = RecordRule(read_filter("freeswitch", [FILTERS])).session
SESSIONS = [f"{n:08x}-1111-2222-3333-444444444444" for n in range(2)]


def log(seed):
    """Runs of session lines around the hundred, raw lines, dated ones, in any order; some are cut, and the next hangs there."""
    pick = random.Random(seed)
    lines = []
    while len(lines) < 900:
        session = pick.choice(SESSIONS)
        match pick.randrange(5):
            case 0:
                lines += [
                    f"{session} {'x' * pick.randrange(12)}" for _ in range(pick.choice([1, 30, 98, 99, 100, 101]))
                ]
            case 1:
                lines += [f"raw {'x' * pick.randrange(120)}" for _ in range(pick.randrange(12))]
            case 2:
                lines.append(f"{session} 2026-11-28 10:00:00.000000 a message")
            case 3 if lines:
                lines[pick.randrange(max(len(lines) - 100, 0), len(lines))] = f"{session} {'x' * BYTES}"
            case _:
                lines.append("2026-11-28 10:00:00.000000 another's")
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


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("chunk", [1, 70, 400, 10_000])
def test_the_quick_look(seed, chunk, monkeypatch):
    """However the log is cut into chunks, and whichever lines are asked about."""
    lines = log(seed)
    asked = set(random.Random(seed).sample(range(len(lines)), 60)) | {
        number + 1 for number in range(LINES, len(lines)) if lines[number].startswith(b"raw")
    }
    quick = covered(lines, chunk, asked)
    monkeypatch.setattr(session_tail.SessionTail, "_is_far_from_any", lambda *_: False)
    assert quick == covered(lines, chunk, asked)
    if seed == 0:
        assert quick, "nothing was tried"
