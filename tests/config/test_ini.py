"""Fail2ban's INI dialect: what a text means, in which order files override each other, and what an error says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sipguard.config.ini import Ini, layer_files, parse_ini, read_ini
from sipguard.errors import ConfigError

TEXTS = [
    pytest.param("a = 1", "1", id="equals"),
    pytest.param("a: 1", "1", id="colon"),
    pytest.param("A=1", "1", id="key in lower case"),
    pytest.param("a = b = c : d", "b = c : d", id="first delimiter counts"),
    pytest.param("a =", "", id="empty"),
    pytest.param("a = 1\n  2", "1\n2", id="continuation"),
    pytest.param("a = 1\n\n  2", "1\n\n2", id="empty line inside"),
    pytest.param("a = 1\n  # no\n  2", "1\n2", id="comment inside leaves no line"),
    pytest.param("a = 1\n; no\n  2", "1\n2", id="semicolon comment line"),
    pytest.param("a = 1 ; no", "1", id="inline comment"),
    pytest.param("a = 1; yes", "1; yes", id="semicolon without blank before"),
    pytest.param("a = 1 # yes", "1 # yes", id="hash is no inline comment"),
    pytest.param("a = 1;2 ;3", "1;2", id="second semicolon starts the comment"),
    pytest.param("a = 1\n  b = 2", "1\nb = 2", id="indented assignment continues"),
    pytest.param("a = 1\n  [x]", "1\n[x]", id="indented heading continues"),
    pytest.param("  a = 1\n    2\n  b = 3", "1\n2", id="indented keys"),
    pytest.param("a = 1\n\n\n", "1", id="trailing empty lines"),
    pytest.param("a =\n   1\n   2", "\n1\n2", id="value starts in the next line"),
]


@pytest.mark.parametrize(("text", "value"), TEXTS)
def test_value_of_a_key(text, value):
    """One key, as written and as understood."""
    assert parse_ini(f"[s]\n{text}", "x.conf").sections["s"]["a"].text == value


def test_place_of_a_value():
    """Each value knows the line it started in."""
    part = parse_ini("# first\n[s]\n\na = 1\n  2\nb = 3\n", "x.conf")
    assert [part.sections["s"][key].where for key in "ab"] == ["x.conf:4", "x.conf:6"]


BROKEN = [
    pytest.param("a = 1", "x.conf:1", "before the first [section]", id="no section"),
    pytest.param("[s]\nword", "x.conf:2", "neither `key = value`", id="no delimiter"),
    pytest.param("[s]\n= 1", "x.conf:2", "no key", id="no key"),
    pytest.param("[s]\na=1\nb=1\na=2", "x.conf:4", "first in line 2", id="key twice"),
    pytest.param("[s]\n[t]\n[s]", "x.conf:3", "'[s]' occurs twice", id="section twice"),
    pytest.param("[s]\n\x1b[2Jword", "x.conf:2", "\\x1b", id="control bytes are escaped"),
]


@pytest.mark.parametrize(("text", "where", "what"), BROKEN)
def test_broken_text(text, where, what):
    """The error names the file, the line and the fault."""
    with pytest.raises(ConfigError) as error:
        parse_ini(text, "x.conf")
    assert error.value.where == where
    assert what in error.value.what
    assert "\n" not in str(error.value)


INTERPOLATIONS = [
    pytest.param("a = %(b)s!\nb = 1", "1!", id="same section"),
    pytest.param("a = %(d)s", "dee", id="default section"),
    pytest.param("a = %(B)s\nb = 1", "1", id="any case"),
    pytest.param("a = 100%%", "100%", id="percent"),
    pytest.param("a = %%(b)s", "%(b)s", id="escaped reference"),
    pytest.param("a = %(__name__)s", "s", id="section name"),
    pytest.param("a = %(other/x)s", "ex s", id="foreign value sees the asking section"),
    pytest.param("a = %(default/d)s\nd = own", "dee", id="default by name"),
    pytest.param("a = %(other/d)s\nd = own", "dee", id="foreign section falls back to default"),
    pytest.param("a = %(known/d)s", "dee", id="known falls back to default"),
]


@pytest.mark.parametrize(("text", "value"), INTERPOLATIONS)
def test_interpolation(text, value):
    """`%(…)s` in its forms."""
    ini = Ini([parse_ini(f"[DEFAULT]\nd = dee\n[other]\nx = ex %(__name__)s\n[s]\n{text}", "x.conf")])
    assert ini.get("s", "a") == value


UNRESOLVED = [
    pytest.param("a = %(b)s", "'%(b)s' is not defined in '[s]'", id="unknown key"),
    pytest.param("a = %(other/b)s", "'%(other/b)s'", id="unknown section"),
    pytest.param("a = 5%", "or %% for", id="bare percent"),
    pytest.param("a = %(b", "or %% for", id="open reference"),
    pytest.param("a = %(b)s\nb = %(a)s", "form a loop", id="loop"),
]


@pytest.mark.parametrize(("text", "what"), UNRESOLVED)
def test_interpolation_that_cannot_be_resolved(text, what):
    """The error names the key, the place and the reference."""
    ini = Ini([parse_ini(f"[s]\n{text}", "x.conf")])
    with pytest.raises(ConfigError) as error:
        ini.get("s", "a")
    assert str(error.value).startswith("x.conf:2: a cannot be resolved: ")
    assert what in error.value.what


def test_variables_come_first():
    """What the caller gives hides what the file says, also for the key itself."""
    ini = Ini([parse_ini("[s]\na = %(b)s\nb = file", "x.conf")])
    assert ini.get("s", "a", {"b": "given"}) == "given"
    assert ini.get("s", "b", {"b": "given"}) == "given"


def test_a_value_that_multiplies_itself():
    """Ten levels of ten references each must end in an error, not in a full memory."""
    levels = "\n".join(f"k{level} = {f'%(k{level + 1})s' * 20}" for level in range(9))
    ini = Ini([parse_ini(f"[s]\n{levels}\nk9 =", "x.conf")])
    with pytest.raises(ConfigError, match="without end"):
        ini.get("s", "k0")


def test_layers(tmp_path):
    """`.conf`, `.d/*.conf`, `.local`, `.d/*.local`: the later wins, and what it overrode stays known."""
    (tmp_path / "jail.d").mkdir()
    (tmp_path / "jail.conf").write_text("[s]\na=1\nb=1\nc=1\nd=1\ne=1\n")
    (tmp_path / "jail.d" / "x.conf").write_text("[s]\nb=2\nc=2\nd=2\n")
    (tmp_path / "jail.local").write_text("[s]\nc=3\nd=3\ne=%(known/e)s and 3\n")
    (tmp_path / "jail.d" / "a.local").write_text("[s]\nd=4\n")
    ini = read_ini(layer_files(tmp_path, "jail"))
    assert [ini.get("s", key) for key in "abcde"] == ["1", "2", "3", "4", "1 and 3"]
    assert ini.where("s", "c") == f"{tmp_path}/jail.local:2"


def test_includes(tmp_path):
    """`before` is overridden by the file, `after` overrides it; relative to the including file, with its `.local`."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "x.conf").write_text("[INCLUDES]\nbefore = sub/b.conf\nafter = a.conf\n[s]\nfrom_x=x\nboth=x\nlast=x\n")
    (tmp_path / "sub" / "b.conf").write_text("[INCLUDES]\nbefore = c.conf\n[s]\nboth=b\ndeep=b\n")
    (tmp_path / "sub" / "b.local").write_text("[s]\nlocal=yes\n")
    (tmp_path / "sub" / "c.conf").write_text("[s]\ndeep=c\nonly=c\n")
    (tmp_path / "a.conf").write_text("[s]\nlast=a\n")
    ini = read_ini([tmp_path / "x.conf"])
    assert [ini.get("s", key) for key in ("from_x", "both", "last", "deep", "only", "local")] == [
        "x",
        "x",
        "a",
        "b",
        "c",
        "yes",
    ]
    assert [Path(path).name for path in ini.files] == ["c.conf", "b.conf", "b.local", "x.conf", "a.conf"]


def test_include_loop(tmp_path):
    """A loop is an error that shows the way round and the line to take out."""
    (tmp_path / "a.conf").write_text("[INCLUDES]\nbefore = b.conf\n")
    (tmp_path / "b.conf").write_text("[INCLUDES]\n\nafter = a.conf\n")
    with pytest.raises(ConfigError) as error:
        read_ini([tmp_path / "a.conf"])
    assert str(error.value) == f"{tmp_path}/b.conf:3: include loop: a.conf → b.conf → a.conf; remove this include"


def test_missing_include_is_noted(tmp_path):
    """A missing `.conf` is noted with its place; a missing `.local` is an operator's choice."""
    (tmp_path / "a.conf").write_text("[INCLUDES]\nbefore = no.conf\n   no.local\n")
    assert read_ini([tmp_path / "a.conf"]).missing == [(f"{tmp_path}/no.conf", f"{tmp_path}/a.conf:2")]


def test_conditional_section():
    """`[Init?family=inet6]` gives its keys the condition and joins them to [Init]."""
    ini = Ini([parse_ini("[Init]\nb=4\n[Init?family=inet6]\nb=6\n", "x.conf")])
    assert ini.get("Init", "b") == "4"
    assert ini.get("Init", "b?family=inet6") == "6"


def test_not_utf8(tmp_path):
    """A file in another encoding is an error with the position."""
    (tmp_path / "a.conf").write_bytes(b"[s]\na = \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        read_ini([tmp_path / "a.conf"])


LINES = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(
            [
                "[s]",
                "[DEFAULT]",
                "[s?x=y]",
                "a = %(b)s",
                "b: %(known/a)s",
                "  more ; no",
                "# no",
                "c = %(s/a)s %%",
                "%",
                "",
            ]
        ),
    ),
    max_size=12,
)


@given(LINES)
@example(["[s]", "a = %(b)s", "b: %(a)s"])
def test_any_text_gives_values_or_an_error(lines):
    """Whatever stands in a file: values, or a ConfigError of one line."""
    try:
        ini = Ini([parse_ini("\n".join(lines), "x.conf")])
        texts = [ini.get(name, key) for name, section in ini.sections.items() for key in section]
    except ConfigError as error:
        texts = str(error).splitlines()
        one_line = len(texts) == 1
    else:
        one_line = True
    assert one_line
    assert all(isinstance(text, str) for text in texts)
