"""Commands run with a time limit, in a group of their own, and with nothing of ours."""

from __future__ import annotations

import asyncio
import os
import time

import psutil
import pytest

from sipguard.actions.command import MAX_OUTPUT, Runner


def run(script, limit=60.0, **variables):
    """Run a shell text."""

    async def running():
        return await Runner()(script, variables, limit)

    return asyncio.run(running())


ENDS = {
    "right": ("echo out; echo err >&2", 0, "", "out\nerr"),
    "wrong": ("echo 'no\x1b such' >&2; exit 3", 3, "exit status 3: no\\x1b such", "no\\x1b such"),
    "signal": ("kill -TERM $$", -15, "ended by signal 15", ""),
    "not there": ("nonesuch-program 2>/dev/null", 127, "exit status 127", ""),
    "NUL": ("a\0b", 127, "cannot be started: embedded null byte", ""),
    "too long": ("#" * 200_000, 127, "cannot be started: Argument list too long", ""),
}


@pytest.mark.parametrize(("script", "status", "problem", "output"), ENDS.values(), ids=ENDS)
def test_ends(script, status, problem, output):
    """How it ended, for people."""
    result = run(script)
    assert (result.status, result.problem, result.output) == (status, problem, output)


def lives(pid):
    """Whether a process is there and not dead."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_time_limit(tmp_path):
    """A command that refuses to end is killed with all that it has started, and soon."""
    script = (
        f"trap '' TERM; sleep 900 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/self; while :; do sleep 901; done"
    )
    began = time.monotonic()
    result = run(script, 2)  # by then it has written what it is
    assert time.monotonic() - began < 60
    assert (result.timed_out, result.problem) == (True, "stopped after its time limit of 2 s")
    pids = [int((tmp_path / name).read_text()) for name in ("child", "self")]
    while any(lives(pid) for pid in pids):
        assert time.monotonic() - began < 90
        time.sleep(0.02)


def test_stopped_while_it_is_being_ended(tmp_path):
    """A command that has been asked to end at its time limit, and does not, is killed even if the daemon stops at that moment."""
    asked, self = tmp_path / "asked", tmp_path / "self"
    script = f"trap ': > {asked}' TERM; echo $$ > {self}; while :; do sleep 900; done"

    async def stopped():
        task = asyncio.create_task(Runner()(script, {}, 2))
        while not asked.exists():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(stopped())
    began = time.monotonic()
    while lives(int(self.read_text())):
        assert time.monotonic() - began < 30
        time.sleep(0.02)


def test_background(tmp_path):
    """What it leaves in the background holds nobody up."""
    began = time.monotonic()
    assert run(f"sleep 900 & echo $! > {tmp_path}/child", 60).ok
    assert time.monotonic() - began < 60
    psutil.Process(int((tmp_path / "child").read_text())).kill()


def test_output_is_bounded():
    """The end of what it prints is kept; printing much does not block it."""
    result = run("head -c 5000000 /dev/zero | tr '\\0' x; echo end")
    assert result.ok
    assert len(result.output) <= MAX_OUTPUT
    assert result.output.endswith("xend")


def test_nothing_of_ours(monkeypatch, tmp_path):
    """Three descriptors, no variable that speaks to systemd, a session of its own."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("OTHER", "kept")
    with (tmp_path / "open").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        result = run(
            'ls /proc/$$/fd; echo "${NOTIFY_SOCKET-none} $OTHER $VALUE"; cut -d" " -f6 /proc/$$/stat; echo $$',
            VALUE="v $(x)",
        )
    *descriptors, words, session, pid = result.output.split("\n")
    assert descriptors == ["0", "1", "2"]
    assert words == "none kept v $(x)"
    assert session.strip() == pid


def test_so_many_at_once():
    """No more run at a time than is said."""

    async def running():
        runner = Runner(at_once=2)
        began = time.monotonic()
        await asyncio.gather(*(runner("sleep 0.2", {}, 60) for _ in range(6)))
        return time.monotonic() - began

    assert asyncio.run(running()) >= 0.6
