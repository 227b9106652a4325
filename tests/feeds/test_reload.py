"""What is told of feeds and fleet at a start, and while a reload puts others in their place: never that there are none."""

from __future__ import annotations

import threading

from running import append, running

from sipguard.cli.client import ask

ENTRIES = 3000


def test_a_reload_shows_no_gap(tmp_path):
    """Asked again and again during reloads, `feeds` names the feed with its entries, and `explain` the feed that lists one."""
    (tmp_path / "list.txt").write_text("".join(f"198.51.{n // 125}.{n % 125 * 2}\n" for n in range(ENTRIES)))
    with running(tmp_path, {}) as daemon:
        append(daemon.config, f'[feeds.office]\nfile = "{tmp_path / "list.txt"}"\n')
        daemon.sipguard("reload", check=False)
        daemon.wait_for(lambda: ask(daemon.socket, "feeds")[0]["applied"])
        told, over = set(), threading.Event()

        def ask_on():
            while not over.is_set():
                told.update((feed["name"], feed["entries"], feed["applied"]) for feed in ask(daemon.socket, "feeds"))
                told.add(len(ask(daemon.socket, "feeds")))
                told.update(feed["feed"] for feed in ask(daemon.socket, "explain", address="198.51.1.2")["feeds"])
                told.add(len(ask(daemon.socket, "explain", address="198.51.1.2")["feeds"]))

        asker = threading.Thread(target=ask_on)
        asker.start()
        try:
            for _ in range(3):
                daemon.sipguard("reload", check=False)
        finally:
            over.set()
            asker.join()
        assert told == {("office", ENTRIES, True), 1, "office"}


def test_a_start_shows_no_gap(tmp_path):
    """Who asks at once is told of the feed and the fleet that the configuration has."""
    (tmp_path / "list.txt").write_text("".join(f"198.51.{n // 125}.{n % 125 * 2}\n" for n in range(ENTRIES)))
    with running(tmp_path, {}) as daemon:
        append(daemon.config, f'[feeds.office]\nfile = "{tmp_path / "list.txt"}"\n')
        append(daemon.config, '[fleet]\nurl = "redis://127.0.0.1:1"\nname = "pbx1"\n')
        daemon.stop()
        daemon.start()
        assert ask(daemon.socket, "fleet")["fleet"]["name"] == "pbx1"
        assert [feed["name"] for feed in ask(daemon.socket, "feeds")] == ["office"]


def test_the_last_feed_goes(tmp_path):
    """After a reload without it, none is told of."""
    (tmp_path / "list.txt").write_text("198.51.100.9\n")
    with running(tmp_path, {}) as daemon:
        before = daemon.config.read_text()
        append(daemon.config, f'[feeds.office]\nfile = "{tmp_path / "list.txt"}"\n')
        daemon.sipguard("reload", check=False)
        assert [feed["name"] for feed in ask(daemon.socket, "feeds")] == ["office"]
        daemon.config.write_text(before)
        daemon.sipguard("reload", check=False)
        assert ask(daemon.socket, "feeds") == []
