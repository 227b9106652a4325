"""The daemon follows the best log of those that there are, also when that is another than at its start."""

from __future__ import annotations

from running import append, failure, running

ATTACKER = "203.0.113.66"


def test_a_better_log_repeats_what_the_first_has_told(tmp_path):
    """What both have counts once."""
    better, worse = tmp_path / "better.log", tmp_path / "worse.log"
    worse.write_text("2026-01-15 10:20:30.123456 98.53% [NOTICE] mod_sofia.c:1 nothing\n")
    jail = {"filter": "freeswitch", "logpath_first": [str(better), str(worse)], "maxretry": 6}
    with running(tmp_path, {"freeswitch": jail}) as daemon:
        told = failure(ATTACKER) * 3
        append(worse, told)
        daemon.wait_logged("Found", 3)
        append(better, told + failure("203.0.113.67") * 6)
        daemon.wait_logged("Ban 203.0.113.67")
        assert daemon.logged().count(f"Found {ATTACKER}") == 3


def test_a_better_log_appears(tmp_path):
    """It is followed without a reload, with what stands in it already, and status says why."""
    better, worse = tmp_path / "better.log", tmp_path / "worse.log"
    worse.write_text("2026-01-15 10:20:30.123456 98.53% [NOTICE] mod_sofia.c:1 nothing\n")
    jail = {"filter": "freeswitch", "logpath_first": [str(better), str(worse)]}
    with running(tmp_path, {"freeswitch": jail}) as daemon:
        assert list(daemon.status("freeswitch")["logs"]) == [str(worse)]
        append(better, failure(ATTACKER) * 5)
        daemon.wait_logged(f"[freeswitch] follows {better} from now on: the first of logpath_first that is written to")
        daemon.wait_logged(f"Ban {ATTACKER}")
        status = daemon.status("freeswitch")
        assert list(status["logs"]) == [str(better)]
        assert status["log_choice"] == "the first of logpath_first that is written to"
