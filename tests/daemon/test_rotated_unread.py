"""A log that was rotated while the daemon was away, before its first line was read: nothing of it is lost."""

from __future__ import annotations

import signal

import pytest
from running import RunningDaemon, append, failure


def _attack(first):
    """Ten addresses, from this one on, that shall be banned."""
    return [f"198.18.0.{number}" for number in range(first, first + 10)]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("rotations", [1, 2])
def test_rotated_before_its_first_line_was_read(tmp_path, log, rotations, end):
    """The daemon has seen the log empty; then it ends, and comes back when the log has been rotated."""
    daemon = RunningDaemon(tmp_path, {"freeswitch": {"logpath": str(log), "findtime": 3600}})
    daemon.start()
    daemon.wait_for(lambda: daemon.state_of(log) == (0, log.stat().st_ino), "the position on disk")
    daemon.stop(end)
    guilty = []
    for number in range(rotations + 1):
        guilty += _attack(10 * number)
        append(log, "".join(failure(address) * 5 for address in _attack(10 * number)))
        if number < rotations:
            log.rename(log.with_name(f"{log.name}.{rotations - number}"))
            log.touch()
    daemon.start()
    try:
        daemon.wait_for(lambda: daemon.banned("freeswitch") == set(guilty), "every ban")
    finally:
        daemon.stop()
