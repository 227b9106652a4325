"""`sipguard top` on a real daemon: what it shows at 80 by 24 and wide, and what its keys do."""

import asyncio
import importlib.util
import re
import signal
from functools import partial

import pytest
from running import append, failure, running
from screen import hold_to
from tmux import golden, tmux  # noqa: F401 - a fixture

from sipguard.cli.client import ask
from sipguard.cli.top import _as_text

pytestmark = pytest.mark.skipif(importlib.util.find_spec("textual") is None, reason="textual is not installed")
ATTACKER = "203.0.113.66"
EVIL = "[red]x[/red]\x1b[2J\u202e" + "y" * 8000
SIZES = [(80, 24), (140, 40)]


@pytest.fixture
def daemon(tmp_path):
    """Two attackers are banned, one is counted."""
    log = tmp_path / "freeswitch.log"
    log.touch()
    settings = {"logpath": str(log), "filter": "freeswitch", "bantime": 600, "maxretry": 3}
    with running(tmp_path / "daemon", {"one": settings}) as one:
        one.server_log = log
        append(log, "".join(failure(ATTACKER, "1000") * 3 + failure("198.51.100.7", "1001") * 3))
        append(log, failure("192.0.2.9", "1002"))
        one.wait_for(lambda: len(one.banned("one")) == 2)
        yield one


def shown(app):
    """What stands on the screen."""
    return "\n".join("".join(segment.text for segment in line) for line in app.screen._compositor.render_strips())


def on_screen(daemon, size, body, question=None):
    """Run the program on a screen of that size."""
    from sipguard.top.app import Top

    async def main():
        app = Top(question or partial(ask, daemon.socket), _as_text)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: ATTACKER in shown(app))
            await body(app, pilot)

    asyncio.run(main())


async def until(pilot, holds):
    """Wait for it."""
    for _ in range(400):
        await pilot.pause(0.05)
        if holds():
            return
    raise AssertionError(shown(pilot.app))


def _steady(text):
    """The same whenever it is shown: times and rates differ, and the widths of their columns."""
    text = re.sub(r"\b\d+m(?: \d+s)?(?= )", "9m 58s", text)
    text = re.sub(r"(?<![\d.])\d\.\d(?![\d.])", "0.0", text)
    text = re.sub(r" {2,}", "  ", re.sub(r"[▁-█]", "▁", text))
    return re.sub(r" +$", "", re.sub(r"[╸╺]", "━", text), flags=re.MULTILINE)


def test_screen(daemon):
    """Its tables on a terminal of 80 columns, held to what people have looked at."""
    seen = []

    async def look(app, pilot):
        for key, sign in (("1", ATTACKER), ("2", "1 of 3"), ("3", "user under attack")):
            await pilot.press(key)
            await until(pilot, lambda sign=sign: sign in shown(app))
            seen.append(shown(app))

    on_screen(daemon, (80, 24), look)
    assert all(len(line) <= 80 for one in seen for line in one.splitlines())
    hold_to("top", _steady("\n\n".join(seen)) + "\n")


@pytest.mark.root
def test_in_a_real_terminal(daemon, tmux):  # noqa: F811
    """The same in tmux, by the program itself."""
    seen = []
    with tmux.session("top", "--socket", daemon.socket):
        for key, sign in (("", ATTACKER), ("2", "1 of 3"), ("3", "user under attack")):
            tmux.press(key)
            seen.append(tmux.until(lambda shown, sign=sign: sign in shown and "1-6 tables" in shown))
        tmux.press("q")
        tmux.until(lambda shown: "[exit status 0]" in shown)
    assert _steady(" ".join(seen)).split() == golden("top").split()


@pytest.mark.parametrize("size", SIZES)
def test_bans_attackers_and_users_are_shown(daemon, size):
    """Each in its table; wide, those who are counted stand beside."""

    async def look(app, pilot):
        await until(pilot, lambda: "banned" in shown(app) and "198.51.100.7" in shown(app))
        await until(pilot, lambda: ("192.0.2.9" in shown(app)) is (size[0] >= 120))
        assert all(len(line) <= size[0] for line in shown(app).splitlines())
        await pilot.press("2")
        await until(pilot, lambda: "1 of 3" in shown(app))
        await pilot.press("3")
        await until(pilot, lambda: "user under attack" in shown(app))
        await pilot.press("4")
        await until(pilot, lambda: "failures" in shown(app))

    on_screen(daemon, size, look)


def test_what_costs_the_daemon_much_is_asked_for_only_when_it_has_changed(daemon, monkeypatch):
    """Bans by the hundred thousand are never asked for as a whole, and a page of them not again while nothing moves."""
    monkeypatch.setattr("sipguard.top.app.SLOWER", 1000.0)
    asked = []

    def counting(command, **arguments):
        asked.append(command)
        return ask(daemon.socket, command, **arguments)

    async def watch(app, pilot):
        await until(pilot, lambda: asked.count("overview") >= 4)
        assert "status" not in asked
        assert asked.count("bans") == 1
        append(daemon.server_log, failure("203.0.113.77") * 3)
        # Its failures are on the screen before its ban is asked for.
        await until(pilot, lambda: "203.0.113.77" in shown(app) and asked.count("bans") > 1)
        looks = len(asked)
        await until(pilot, lambda: asked[looks:].count("overview") >= 2)
        settled = asked.count("bans")
        await until(pilot, lambda: asked[looks:].count("overview") >= 4)
        assert asked.count("bans") == settled <= 3

    on_screen(daemon, (140, 40), watch, counting)


def test_enter_explains_and_unban_asks(daemon):
    """No is no, yes is yes."""

    async def keys(app, pilot):
        await pilot.press("/", *"203.0.113", "enter")
        await until(pilot, lambda: "198.51.100.7" not in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: f"{ATTACKER} is banned" in shown(app))
        await pilot.press("escape")
        await pilot.press("u")
        await until(pilot, lambda: "Let 203.0.113.66 through" in shown(app))
        await pilot.press("n")
        await pilot.pause(0.2)
        assert ATTACKER in daemon.banned("one")
        await pilot.press("u")
        await until(pilot, lambda: "Let 203.0.113.66 through" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: ATTACKER not in daemon.banned("one"))

    on_screen(daemon, (80, 24), keys)


def test_a_new_ban_comes_by_itself_and_a_stranger_s_text_stays_text(daemon):
    """Markup, ESC, bidi and 8,000 bytes of a user."""

    async def attack(app, pilot):
        append(daemon.server_log, failure("203.0.113.77", EVIL[:200]) * 3)
        await until(pilot, lambda: "203.0.113.77" in shown(app))
        await pilot.press("3")
        await until(pilot, lambda: "[red]x" in shown(app))
        assert "\x1b" not in shown(app)
        assert "\u202e" not in shown(app)

    on_screen(daemon, (140, 40), attack)


def test_a_daemon_that_is_gone_is_said(daemon):
    """And what was known stays."""

    async def kill(app, pilot):
        await asyncio.to_thread(daemon.stop, signal.SIGKILL)
        await until(pilot, lambda: "no sipguard is running there" in shown(app))
        assert ATTACKER in shown(app)

    on_screen(daemon, (140, 40), kill)
