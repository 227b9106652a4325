"""A real Asterisk under a real attack, and sipguard beside it: what the attacker meets, and what the customer does not."""

from __future__ import annotations

import time

import pytest
from running import running


@pytest.mark.root
@pytest.mark.parametrize("suite", ["sid", "bullseye"])
def test_guesses_are_rejected_after_the_fifth(lab, suite, tmp_path):
    """Five wrong passwords are answered 401, the sixth packet is rejected; the phone never notices; then it is over."""
    attacked = lab(suite)
    jail = {"logpath": f"{attacked.log('security')} tail", "maxretry": 5, "bantime": 10, "findtime": 600}
    options = {"firewall": "nftables", "prefix": attacked.command("pbx")}
    with running(tmp_path, {"asterisk": jail}, **options) as daemon:
        assert attacked.guess(5) == ["401"] * 5
        # The fifth answer leaves before its line is read; what comes after the ban is rejected.
        daemon.wait_logged("[asterisk] Ban 198.51.100.66")
        banned = time.monotonic()
        assert attacked.guess(3) == ["rejected"] * 3
        assert attacked.register() == "200"
        daemon.wait_logged("[asterisk] Unban 198.51.100.66")
        assert 9 < time.monotonic() - banned < 12
        assert attacked.guess(1) == ["401"]
        assert attacked.register() == "200"


@pytest.mark.root
@pytest.mark.parametrize("suite", ["sid", "bullseye"])
def test_guesses_without_a_pause(lab, suite, tmp_path):
    """A tool on the same machine guesses every millisecond: what it gets in before the ban is printed."""
    attacked = lab(suite)
    jail = {"logpath": f"{attacked.log('security')} tail", "maxretry": 5, "bantime": 600}
    options = {"firewall": "nftables", "prefix": attacked.command("pbx")}
    with running(tmp_path, {"asterisk": jail}, **options) as daemon:
        answers = attacked.guess(40)
        daemon.wait_logged("[asterisk] Ban 198.51.100.66")
        assert set(answers) <= {"401", "rejected", "silent"}, answers
        turned = answers.index("rejected")
        print(f"\n{suite}: {turned - 5} guesses slipped in between the fifth and the ban")
        assert set(answers[:turned]) == {"401"}
        assert turned >= 5
        # The kernel answers only some of many rejected packets (icmp_ratelimit): the others are dropped without a word.
        assert "401" not in answers[turned:]
        daemon.sipguard("flush")
