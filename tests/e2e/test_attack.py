"""A real Asterisk under a real attack, and sipguard beside it: what the attacker meets, and what the customer does not."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from limits import within
from running import running

# The first use of a suite may have to install it.
pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("suite", ["sid", "bullseye"])
def test_guesses_are_rejected_after_the_fifth(lab, suite, tmp_path):
    """Five wrong passwords are answered 401, the sixth packet is rejected; the phone never notices; then it is over."""
    attacked = lab(suite)
    jail = {"logpath": f"{attacked.log('security')} tail", "maxretry": 5, "bantime": 10, "findtime": 600}
    options = {"firewall": "nftables", "prefix": attacked.command("pbx")}
    with running(tmp_path, {"asterisk": jail}, **options) as daemon:
        for times in range(1, 6):
            assert attacked.guess(5) == ["401"] * 5
            # The fifth answer leaves before its line is read; what comes after the ban is rejected.
            daemon.wait_logged("[asterisk] Ban 198.51.100.66", times=times)
            met, phone = attacked.guess(3), attacked.register()
            assert phone == "200"
            daemon.wait_logged("[asterisk] Unban 198.51.100.66", times=times)
            if met == ["rejected"] * 3:  # else this test has had its turn when the ban was over
                break
            assert met[-1] == "401"
            daemon.sipguard("unban", "198.51.100.66", check=False)  # what it has counted since
        assert met == ["rejected"] * 3
        assert attacked.guess(1) == ["401"]
        assert attacked.register() == "200"
        assert 9.5 < _seconds_banned(daemon.logged()) < 10 + within(5)


def _seconds_banned(logged):
    """Seconds between the last failure and Unban, by the daemon's own log, however long this test had to wait for its turn."""
    found, unban = (
        datetime.fromisoformat(re.findall(rf"^(\S+ \S+) .* \[asterisk\] {what} ", logged, re.M)[number])
        for what, number in (("Found", 4), ("Unban", 0))
    )
    return (unban - found).total_seconds()


@pytest.mark.parametrize("suite", ["sid", "bullseye"])
def test_guesses_without_a_pause(lab, suite, tmp_path):
    """A tool on the same machine guesses every millisecond: what it gets in before the ban is printed."""
    attacked = lab(suite)
    jail = {"logpath": f"{attacked.log('security')} tail", "maxretry": 5, "bantime": 600}
    options = {"firewall": "nftables", "prefix": attacked.command("pbx")}
    with running(tmp_path, {"asterisk": jail}, **options) as daemon:
        answers = attacked.guess_until_rejected()
        daemon.wait_logged("[asterisk] Ban 198.51.100.66")
        assert "rejected" in answers, f"none of {len(answers)} guesses was rejected"
        turned = answers.index("rejected")
        print(f"\n{suite}: {turned - 5} guesses slipped in between the fifth and the ban")
        # An Asterisk that does not get its turn for seconds is silent.
        assert set(answers[:turned]) <= {"401", "silent"}
        assert answers[:turned].count("401") >= 5
        assert answers[turned:] == ["rejected"] * 11
