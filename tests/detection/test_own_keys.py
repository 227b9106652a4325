"""Keys of a filter that sipguard alone knows: what is wrong with one is told, and where, before a line is read."""

from __future__ import annotations

import pytest
from command_line import sipguard

from sipguard.config.filters import read_filter_file
from sipguard.detection.detector import Detector
from sipguard.detection.record_rule import KEYS
from sipguard.errors import ConfigError

NUMBERS = {"linecut", "quarantine_limit"}
EVENTS = {"successregex", "challengeregex", "answerregex", "tamperedregex"}
NEEDED = {
    "recordforeign": "recordthread = x",
    "quarantine_end": "quarantine_begin = x",
    "logline": "quarantine_begin = x",
}
"""Without the other key it means nothing."""


def a_filter(tmp_path, *lines):
    """A filter file with these lines in its `[Definition]`."""
    path = tmp_path / "own.conf"
    path.write_text("\n".join(["[Definition]", "failregex = ^x from <HOST>$", *lines, ""]))
    return path


@pytest.mark.parametrize("key", sorted((KEYS | EVENTS) - NUMBERS - {"jsonline"}))
def test_a_tag_that_is_not_defined(tmp_path, key):
    """A `<_start-<log>>` for which there is no `_start-…` would match nothing, silently."""
    path = a_filter(
        tmp_path, NEEDED.get(key, ""), f"{key} = ^<_start-<log>> <HOST>", "log = all", "_start-security = x"
    )
    with pytest.raises(ConfigError) as error:
        Detector(read_filter_file(path))
    assert error.value.where == f"{path}:4"
    assert f"{key} uses the undefined tag <_start-all>" in error.value.what
    Detector(read_filter_file(path, {"log": "security"}))


@pytest.mark.parametrize("key", sorted(NUMBERS))
def test_what_is_no_number(tmp_path, key):
    """Told like a wrong regex."""
    path = a_filter(tmp_path, "quarantine_begin = x", f"{key} = 8k")
    with pytest.raises(ConfigError, match=f"{key} = '8k': must be a whole number") as error:
        Detector(read_filter_file(path))
    assert error.value.where == f"{path}:4"


def test_check_says_it_in_one_line(tmp_path):
    """What, where, and how to mend it; the exit status says that something is wrong."""
    path = a_filter(tmp_path, "recordstart = <_start-<log>>", "log = all")
    for folder in ("filters.d", "jails.d"):
        (tmp_path / folder).mkdir()
    path.rename(tmp_path / "filters.d" / "own.conf")
    (tmp_path / "sipguard.toml").touch()
    (tmp_path / "jails.d" / "own.toml").write_text(
        'enabled = true\nfilter = "own"\nlogpath = "/dev/null"\nport = "5060"\n'
    )
    done = sipguard("check", "-c", tmp_path / "sipguard.toml")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "undefined tag" in line]
    assert len(lines) == 1, done.stderr
    assert (
        "own.conf:3: jail own: recordstart uses the undefined tag <_start-all>: define it in [Definition], or"
        in lines[0]
    )
