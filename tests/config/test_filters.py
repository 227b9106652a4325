"""filter.d files as jail.conf(5) describes them: options, tags, overlays, and what an error says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard.config.filters import read_filter, read_filter_file
from sipguard.config.references import parse_reference, split_references
from sipguard.config.tags import substitute_tags
from sipguard.errors import ConfigError

REFERENCES = [
    pytest.param("sshd", "sshd", {}, id="bare"),
    pytest.param("sshd[]", "sshd", {}, id="no options"),
    pytest.param("sshd[mode=ddos]", "sshd", {"mode": "ddos"}, id="one"),
    pytest.param('n[a=b, c="d,e"]', "n", {"a": "b", "c": "d,e"}, id="quoted comma"),
    pytest.param("n[a='x]y', b=\"'\"]", "n", {"a": "x]y", "b": "'"}, id="quoted bracket and quote"),
    pytest.param('n[a=b, a?family=inet6="c d"]', "n", {"a": "b", "a?family=inet6": "c d"}, id="condition"),
    pytest.param("n[a=1][b=2]", "n", {"a": "1", "b": "2"}, id="groups"),
    pytest.param("n[a=1,\n  b=2]", "n", {"a": "1", "b": "2"}, id="over lines"),
    pytest.param("n[a=, b= 2 ]", "n", {"a": "", "b": "2"}, id="empty and blanks"),
    pytest.param("n [test.method=POST]", "n", {"test.method": "POST"}, id="dotted key"),
    pytest.param('n[a=x="y"]', "n", {"a": 'x="y"'}, id="quote inside"),
]


@pytest.mark.parametrize(("text", "name", "options"), REFERENCES)
def test_reference(text, name, options):
    """The name and its options."""
    assert parse_reference(text) == (name, options)


@pytest.mark.parametrize("text", ["", "[a=b]", "n[a]", "n[a=b", "n[a=b]c", 'n[a="b"c]', "n m", "n[a=b]]"])
def test_broken_reference(text):
    """What is no reference says so in one line."""
    with pytest.raises(ConfigError) as error:
        parse_reference(text, "jail.conf:7")
    assert str(error.value).startswith("jail.conf:7: ")


def test_list_of_references():
    """Several actions, with options over lines."""
    assert split_references("one[a=1,\n b=2]\n  two\nthree [c=3]") == [
        ("one", {"a": "1", "b": "2"}),
        ("two", {}),
        ("three", {"c": "3"}),
    ]


TAGS = [
    pytest.param({"a": "3", "b": "<a>_3"}, {"a": "3", "b": "3_3"}, id="plain"),
    pytest.param({"a": "<b>", "b": "<c>", "c": "1"}, {"a": "1", "b": "1", "c": "1"}, id="chain"),
    pytest.param({"a": "<x_<m>>", "m": "on", "x_on": "yes"}, {"a": "yes", "m": "on", "x_on": "yes"}, id="put together"),
    pytest.param({"a": "<HOST> (?P<b>x)"}, {"a": "<HOST> (?P<b>x)"}, id="unknown stays"),
    pytest.param({"a": "<b> <b>", "b": "1"}, {"a": "1 1", "b": "1"}, id="twice"),
]


@pytest.mark.parametrize(("tags", "expected"), TAGS)
def test_tags(tags, expected):
    """Tags inside tags."""
    assert substitute_tags(tags) == expected


def test_conditional_tag():
    """`name?family=inet6` is taken when that is the condition, `name` otherwise."""
    tags = {"a": "<b>", "b": "four", "b?family=inet6": "six"}
    assert substitute_tags(tags, condition="family=inet6")["a"] == "six"
    assert substitute_tags(tags)["a"] == "four"


def test_ignored_tag():
    """A name to be ignored stays a tag in the others."""
    assert substitute_tags({"a": "<b><c>", "b": "<c>", "c": "1"}, ignore={"b"}) == {"a": "<b>1", "b": "<c>", "c": "1"}


@pytest.mark.parametrize(
    "tags", [{"a": "<a>"}, {"a": "<b>", "b": "<a>"}, {"a": "<b>", "b": "x<c>", "c": "<b>"}], ids=str
)
def test_self_reference(tags):
    """A tag that leads back to itself is an error that names the key."""
    with pytest.raises(ConfigError, match="refers to itself"):
        substitute_tags(tags)


def test_tags_that_multiply():
    """Forty levels, each twice the next, end in an error and not in a full memory."""
    with pytest.raises(ConfigError, match="grows beyond 1 MiB"):
        substitute_tags({f"k{level:02}": f"<k{level + 1:02}>" * 2 for level in range(40)} | {"k40": "x" * 99})


COMMON = """
[DEFAULT]
logtype = file
_daemon = \\S*
[Definition]
__prefix = <lt_<logtype>/__prefix>
[lt_file]
__prefix = file <_daemon>:
[lt_journal]
__prefix = journal <_daemon>:
"""
DEMO = """
[INCLUDES]
before = common.conf
[Definition]
_daemon = demo
mode-normal = ^%(__prefix)s failed <HOST>$
mode-more = <mode-normal>
            ^%(__prefix)s odd <ADDR> <F-USER>\\S+</F-USER>$
failregex = <mode-<mode>>
ignoreregex =
datepattern = {^LN-BEG}%%Y
journalmatch = _SYSTEMD_UNIT=demo.service + _COMM=demo
kind = <what>-<mode>
[Init]
mode = normal
what = plain
maxlines = 3
"""


@pytest.fixture
def directory(tmp_path):
    """A filter.d with two files."""
    (tmp_path / "common.conf").write_text(COMMON)
    (tmp_path / "demo.conf").write_text(DEMO)
    return tmp_path


def test_filter(directory):
    """Everything that the file says, resolved."""
    found = read_filter("demo", [directory])
    assert found.failregex == ("^file demo: failed <HOST>$",)
    assert found.ignoreregex == ()
    assert found.prefregex is None
    assert (found.maxlines, found.datepattern) == (3, "{^LN-BEG}%Y")
    assert found.journalmatch == ("_SYSTEMD_UNIT=demo.service + _COMM=demo",)
    assert (found.options["kind"], found.options["mode"]) == ("plain-normal", "normal")
    assert (found.origin, found.lines["failregex"]) == (str(directory / "demo.conf"), 9)


def test_options_override(directory):
    """An option of the reference goes before [Init]; several regexes become a list."""
    found = read_filter("demo[mode=more, what='own <known/what>']", [directory])
    assert found.failregex == ("^file demo: failed <HOST>$", "^file demo: odd <ADDR> <F-USER>\\S+</F-USER>$")
    assert found.options["kind"] == "own plain-more"


def test_option_replaces_definition(directory):
    """Also the regexes themselves may be given."""
    assert read_filter("demo[failregex='^x <HOST>', maxlines=7]", [directory]).failregex == ("^x <HOST>",)


@pytest.mark.parametrize(
    ("reference", "logtype", "start"),
    [
        pytest.param("demo", "journal", "^journal", id="from the backend"),
        pytest.param("demo[logtype=file]", "journal", "^file", id="the reference wins"),
        pytest.param("demo[logtype=journal]", None, "^journal", id="from the reference"),
    ],
)
def test_logtype(directory, reference, logtype, start):
    """The source sets `logtype` unless the reference does."""
    assert read_filter(reference, [directory], logtype=logtype).failregex[0].startswith(start)


def test_local_override(directory):
    """`.local` changes the keys that it has, and may build on what was there."""
    (directory / "demo.local").write_text("[Definition]\nfailregex = %(known/failregex)s\n   ^more <HOST>\n")
    assert read_filter("demo", [directory]).failregex == ("^file demo: failed <HOST>$", "^more <HOST>")


def test_first_directory_lies_over_the_later(directory, tmp_path_factory):
    """An operator's file overrides the packaged one key by key."""
    own = tmp_path_factory.mktemp("own")
    (own / "demo.conf").write_text("[Definition]\nignoreregex = ^never\n[Init]\nmode = more\n")
    found = read_filter("demo", [own, directory])
    assert len(found.failregex) == 2
    assert found.ignoreregex == ("^never",)
    assert found.origin == str(own / "demo.conf")


def test_filter_by_path(directory):
    """A file may be named directly."""
    assert read_filter_file(directory / "demo.conf", {"mode": "more"}).name == "demo"


ERRORS = [
    pytest.param("demon", "", "there is no filter 'demon'", "there is demo", id="unknown"),
    pytest.param(
        "demo[mode=nromal]", "", "<mode-nromal>", "mode-more, mode-normal", id="tag put together from a wrong option"
    ),
    pytest.param("bad", "[Definition]\nfailregex = <known/x>", "<known/x>", "bad.conf:2", id="nothing known"),
    pytest.param(
        "bad", "[Definition]\nfailregex = <__pre> <HOST>", "<__pre>", "bad.conf:2", id="helper that nobody defines"
    ),
    pytest.param("bad", "[Definition]\nfailregex = %(no)s", "failregex", "bad.conf:2", id="interpolation"),
    pytest.param(
        "bad", "[Definition]\nfailregex = a<x>\nx = <failregex>", "refers to itself", "bad.conf:2", id="self reference"
    ),
    pytest.param("bad", "[Other]\nfailregex = x", "no [Definition]", "bad.conf", id="no definition"),
    pytest.param("bad", "[Definition]\nx = y", "failregex is missing", "bad.conf", id="no failregex"),
    pytest.param("bad", "[Definition]\nfailregex =", "failregex is empty", "bad.conf:2", id="empty failregex"),
    pytest.param(
        "bad", "[Definition]\nfailregex = x\nmaxlines = many", "maxlines = 'many'", "bad.conf:3", id="maxlines"
    ),
    pytest.param(
        "bad",
        "[INCLUDES]\nbefore = no.conf\n[Definition]\nfailregex = x",
        "no.conf",
        "bad.conf:2",
        id="missing include",
    ),
]


@pytest.mark.parametrize(("reference", "text", "what", "also"), ERRORS)
def test_errors(directory, reference, text, what, also):
    """One line: what is wrong, where, and how to mend it."""
    if text:
        (directory / "bad.conf").write_text(text + "\n")
    with pytest.raises(ConfigError) as error:
        read_filter(reference, [directory])
    assert what in str(error.value)
    assert also in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["(?P<user>x) (?P=user) <HOST>", "user=<root> <HOST>", "(?<!x)<HOST> <F-ID>.</F-ID><SKIPLINES>"]
)
def test_what_is_no_tag_stays(tmp_path, text):
    """Groups, text of the log, and the tags of the matching are not touched."""
    (tmp_path / "f.conf").write_text(f"[Definition]\nfailregex = {text}\n")
    assert read_filter("f", [tmp_path]).failregex == (text,)


def test_a_folder_in_the_place_of_a_filter(tmp_path):
    """It is no file, so no filter: not an error that nobody understands."""
    (tmp_path / "f.conf").mkdir()
    with pytest.raises(ConfigError, match=r"f\.conf: is not a regular file"):
        read_filter("f", [tmp_path])


def test_a_folder_that_may_not_be_entered(tmp_path, monkeypatch):
    """Whether it has the filter cannot be known: that is told, and the packaged one is not taken in its place."""

    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(ConfigError, match=rf"^{tmp_path}.*: cannot be read: Permission denied$"):
        read_filter("f", [tmp_path])


NAMES = st.sampled_from(["a", "b", "c", "a?family=inet6"])
PIECES = st.lists(st.sampled_from(["<a>", "<b>", "<c>", "<", ">", "x", "a", "<HOST>", " "]), max_size=6).map("".join)


@given(st.dictionaries(NAMES, PIECES))
def test_any_tags_give_text_or_an_error(tags):
    """Nothing but ConfigError, and it ends."""
    try:
        keys = set(substitute_tags(tags))
    except ConfigError:
        keys = set(tags)
    assert keys == set(tags)


@given(
    st.one_of(
        st.text(max_size=30),
        st.lists(st.sampled_from(["n", "[", "]", "a=", '"', "'", ",", " ", "\n"]), max_size=14).map("".join),
    )
)
def test_any_reference(text):
    """Nothing but ConfigError."""
    try:
        shown = parse_reference(text)[0]
    except ConfigError as error:
        shown = str(error)
    assert shown
    assert "\n" not in shown
