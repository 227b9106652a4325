"""Every failregex of ours says in words what it finds; Fail2ban ignores the key, and a filter without it works as before."""

import itertools
import re
from dataclasses import replace

import pytest
from annotations import FILTERS
from command_line import sipguard

from sipguard.config.filters import read_filter

OPTIONS = {
    "freeswitch": {"mode": ["normal", "scan", "aggressive"], "unknown": ["both", "once"]},
    "asterisk": {
        "mode": ["normal", "scan", "aggressive"],
        "log": ["security", "notice", "all"],
        "channels": ["pjsip", "sip", "iax2", "all"],
    },
    "kamailio": {"mode": ["normal", "scan", "aggressive"]},
    "opensips": {"mode": ["normal", "scan", "aggressive"]},
    "sip-scanners": {},
    "recidive": {},
}
NAMES = sorted(path.stem for path in FILTERS.glob("*.conf") if "failregex" in path.read_text())


def _references():
    for name in NAMES:
        options = OPTIONS[name]
        for values in itertools.product(*options.values()):
            chosen = ",".join(f"{key}={value}" for key, value in zip(options, values, strict=True))
            yield f"{name}[{chosen}]" if chosen else name


@pytest.mark.parametrize("reference", list(_references()))
def test_as_many_reasons_as_regexes(reference):
    """In plain words, in whatever way a filter is used."""
    found = read_filter(reference, [FILTERS])
    assert len(found.reasons) == len(found.failregex)
    assert all(re.fullmatch(r"[A-Za-z][\w' -]{3,40}", reason) for reason in found.reasons)
    assert found.reason(None) is found.reason(-1) is found.reason(len(found.failregex)) is None
    assert found.reason(0) == found.reasons[0]


@pytest.mark.parametrize("options", [{}, {"reasons": "only one"}, {"reasons": "a\nb\nc"}])
def test_names_that_do_not_fit_are_none(options):
    """Somebody has changed failregex and not the names: better no name than a wrong one."""
    found = replace(read_filter("recidive", [FILTERS]), failregex=("a", "b"), options=options)
    assert found.reasons == ()
    assert found.reason(0) is None


def test_the_author_is_told(tmp_path):
    """`test-filter` says that the names do not fit, and counts by number."""
    file = tmp_path / "mine.conf"
    file.write_text("[Definition]\nfailregex = from <HOST>$\n            of <HOST>$\nreasons = wrong password\n")
    told = sipguard("test-filter", "bad login from 203.0.113.5", file).stdout
    assert "reasons: 1 name for 2 failregexes, so none is used\n" in told
    assert "1\tfailregex 1\n" in told
    file.write_text(file.read_text() + "          unknown user\n")
    assert "1\twrong password\n" in sipguard("test-filter", "bad login from 203.0.113.5", file).stdout
