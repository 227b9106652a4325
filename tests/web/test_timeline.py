"""Attempts and bans by the minute."""

from sipguard.web.timeline import KEPT, Timeline

START = 1_800_000_000.0


def overview(now, since=START, latest=(), **jails):
    """What the daemon tells: jail → failures, bans and, if it shares one, its log."""
    return {
        "now": now,
        "since": since,
        "latest": [{"since": when} for when in latest],
        "jails": [
            {"name": name, "totals": {"failures": one[0], "bans": one[1]}, "logs": {one[2]: None} if one[2:] else {}}
            for name, one in jails.items()
        ],
    }


def counted(timeline, now, minutes=3):
    """The last minutes."""
    told = timeline.minutes(now, minutes)
    return list(zip(told["attempts"], told["bans"], strict=True))


def test_what_counters_grow_by_is_put_into_its_minute(tmp_path):
    """Each look adds to the minute it is made in."""
    timeline = Timeline(tmp_path)
    for seconds, failures, bans in ((0, 0, 0), (30, 5, 1), (50, 7, 1), (70, 9, 3)):
        timeline.look(overview(START + seconds, a=(failures, bans)))
    assert counted(timeline, START + 70) == [(0, 0), (7, 1), (2, 2)]
    assert timeline.recent(START + 70, 1) == (9, 3)


def test_jails_on_one_log_count_an_attempt_once(tmp_path):
    """Each of them has counted it; bans are each jail's own."""
    timeline = Timeline(tmp_path)
    timeline.look(overview(START, a=(0, 0, "/x"), b=(0, 0, "/x"), c=(0, 0, "/y")))
    timeline.look(overview(START + 1, a=(5, 1, "/x"), b=(4, 1, "/x"), c=(2, 0, "/y")))
    assert counted(timeline, START + 1, 1) == [(7, 2)]


def test_bans_that_go_on_are_not_new(tmp_path):
    """A daemon that was started again counts them from the first moment on."""
    timeline = Timeline(tmp_path)
    timeline.look(overview(START, since=START - 900, a=(100, 50)))
    timeline.look(overview(START + 30, since=START + 20, latest=[START + 25, START - 9], a=(3, 51)))
    assert counted(timeline, START + 30, 1) == [(3, 1)]
    timeline.look(overview(START + 31, since=START + 20, a=(4, 52)))
    assert counted(timeline, START + 31, 1) == [(4, 2)]


def test_what_happened_while_nobody_looked_is_left_out(tmp_path):
    """An hour's attempts are no attack of one minute; a jail that came anew begins with nothing."""
    timeline = Timeline(tmp_path)
    timeline.look(overview(START, a=(0, 0)))
    timeline.look(overview(START + 3600, a=(900, 90)))
    timeline.look(overview(START + 3601, a=(901, 90), b=(40, 4)))
    assert timeline.recent(START + 3601, 120) == (1, 0)


def test_it_outlives_the_page(tmp_path):
    """And holds a day of it, however long it runs."""
    first = Timeline(tmp_path)
    first.look(overview(START, a=(0, 0)))
    first.look(overview(START + 1, a=(5, 1)))
    first.save()
    second = Timeline(tmp_path)
    second.look(overview(START + 100, a=(8, 1)))
    assert counted(second, START + 100) == [(0, 0), (5, 1), (3, 0)]
    for minute in range(KEPT + 10):
        second.look(overview(START + 100 + 60 * minute, a=(8 + minute, 1)))
    second.save()
    assert sum(second.minutes(START + 100 + 60 * (KEPT + 9))["attempts"]) == KEPT
    assert (tmp_path / "timeline.json").stat().st_size < 40_000


def test_a_broken_file_is_an_empty_one(tmp_path):
    """It is a picture, not the state."""
    for text in ("", "[]", "{}", '{"minutes": {"x": [1]}}', "null"):
        (tmp_path / "timeline.json").write_text(text)
        assert counted(Timeline(tmp_path), START, 1) == [(0, 0)]
