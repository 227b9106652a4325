"""Ban times that grow, as Fail2ban lets them grow."""

from __future__ import annotations

import math

import pytest

from sipguard.model import FOREVER, BanGrowth, Failure, Filter, Jail
from sipguard.policy.escalation import LONGEST, grown, weight
from sipguard.policy.ignore import IgnoreList
from sipguard.policy.judge import Judge, Outcome

CASES = [
    pytest.param({}, 1, 1200, id="doubles"),
    pytest.param({}, 4, 9600, id="and doubles again"),
    pytest.param({}, 40, 600 * 2**20, id="twenty times at most"),
    pytest.param({}, 0, 600, id="a first ban is not changed"),
    pytest.param({"increment": False}, 4, 600, id="not asked for"),
    pytest.param({"factor": 2.0}, 1, 2400, id="factor"),
    pytest.param({"multipliers": (1, 5, 30)}, 1, 3000, id="multiplier"),
    pytest.param({"multipliers": (1, 5, 30)}, 9, 18_000, id="the last multiplier stays"),
    pytest.param({"multipliers": (1, 5), "formula": "1"}, 1, 3000, id="multipliers win"),
    pytest.param({"maxtime": 1000.0}, 9, 1000, id="maxtime"),
    pytest.param({"maxtime": 1000.0, "rndtime": 100.0}, 9, 1050, id="random time goes beyond maxtime"),
    pytest.param({"formula": "ban.Time * ban.Count * 10"}, 3, 18_000, id="formula"),
    pytest.param({"formula": "1"}, 3, 600, id="never shorter than bantime"),
    pytest.param({"formula": "math.exp(999)"}, 3, LONGEST, id="too large is the longest"),
]


@pytest.mark.parametrize(("growth", "count", "seconds"), CASES)
def test_grown(growth, count, seconds):
    """Ten minutes, and what becomes of them."""
    assert grown(600, BanGrowth(**{"increment": True, **growth}), count, random=lambda: 0.5) == seconds


def test_for_ever_stays():
    """Nothing is longer than for ever."""
    assert math.isinf(grown(FOREVER, BanGrowth(increment=True), 3))


def test_formula_without_value():
    """The caller is told, and decides."""
    with pytest.raises(ValueError, match="division"):
        grown(600, BanGrowth(increment=True, formula="1/(ban.Count-3)"), 3)


@pytest.mark.parametrize(("count", "attempts"), [(0, 1), (1, 2), (2, 3), (3, 5), (4, 9), (5, 10), (99, 10)])
def test_weight(count, attempts):
    """Who was banned before has fewer tries: one counts as 2, 3, 5, 9 …, at most maxretry."""
    assert weight(BanGrowth(increment=True), count, 10) == attempts
    assert weight(BanGrowth(), count, 10) == 1


@pytest.mark.parametrize(("earlier", "tries"), [(0, 5), (1, 3), (3, 1)])
def test_judge_counts_more(earlier, tries):
    """Five tries for a stranger, one for an old acquaintance."""
    jail = Jail("j", Filter("f", ("x",)), growth=BanGrowth(increment=True))
    judge = Judge(jail, IgnoreList(()), clock=lambda: 1000.0, banned=(), earlier=lambda _: earlier)
    outcomes = [judge.consider(Failure("192.0.2.1", 1000.0)).outcome for _ in range(tries)]
    assert outcomes == [Outcome.COUNTED] * (tries - 1) + [Outcome.BAN]
