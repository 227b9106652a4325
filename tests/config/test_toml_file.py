"""TOML with lines: the values, where each stands, and every failure in plain words at its line."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sipguard.config.toml_file import MAX_SIZE, parse, read
from sipguard.errors import ConfigError

FILE = Path("/etc/sipguard/x.toml")

LINES = [
    ("a = 1\nb = 2\n", {("a",): 1, ("b",): 2}),
    ("\n# x = 1\n\na = 1", {("a",): 4}),
    ("[t]\n\na = 1\n[u.v]\nb = 2", {("t",): 1, ("t", "a"): 3, ("u", "v"): 4, ("u", "v", "b"): 5}),
    ("x.y = 1\nx.z = 2", {("x", "y"): 1, ("x", "z"): 2}),
    ("a = [\n 'x', # ] '\n 'y',\n]\nb = 1", {("a",): 1, ("b",): 5}),
    ('a = """\nb = 1\n"""\nc = 1', {("a",): 1, ("c",): 4}),
    ("a = '''\nb = 1\n'''\nc = 1", {("a",): 1, ("c",): 4}),
    ('a = "# \\" b = 1" # "\nc = 1', {("a",): 1, ("c",): 2}),
    ("a = 1\r\nb = 2\r\n", {("a",): 1, ("b",): 2}),
    ("\ufeffa = 1", {("a",): 1}),
    ("'a' = 1\n\"b\" = 2", {("a",): 1, ("b",): 2}),
    ("[ t . u ] # x\na = 1", {("t", "u"): 1, ("t", "u", "a"): 2}),
    ("[[t]]\na = 1\n[[t]]\na = 2", {("t",): 1, ("t", "a"): 2}),
]


@pytest.mark.parametrize(("text", "lines"), LINES)
def test_lines(text, lines):
    """Every key and table has the line on which it begins, and the values are TOML's."""
    file = parse(text, FILE)
    assert file.lines == lines
    assert file.data == tomllib.loads(text.removeprefix("\ufeff"))


def test_where():
    """A key's place; that of its table when it has no line of its own; else the file."""
    file = parse("[t]\ni = { a = 1 }\n", FILE)
    assert file.where("t", "i", "a") == f"{FILE}:2"
    assert file.where("t", "nothing") == f"{FILE}:1"
    assert file.where("nothing") == file.where() == str(FILE)


BAD = [
    ("a = 1\na = 2", 2, "a is given twice, first in line 1"),
    ("[t]\n[t]", 2, "[t] is given twice, first in line 1"),
    ("[a]\nb=1\n[[a]]\n", 3, "[a] is given twice, first in line 1"),
    ("a = 1\n[a]", 2, "[a] is given twice, first in line 1"),
    ("a = 1\na.b = 2", 2, "a.b: the key is given twice"),
    ("\nbantime = 10m", 2, 'bantime: the value is not understood; text needs quotes: "10m"'),
    ("a = five", 1, 'a: the value is not understood; text needs quotes: "five"'),
    ("port = 5060, 5061", 1, 'port: the value is not understood; text needs quotes: "5060, 5061"'),
    ("a = True", 1, "a: write true or false in small letters"),
    ("a =", 1, "a: there is no value after ="),
    ("a = 007", 1, "a: a number must not begin with 0 or end with _"),
    ("x=1\nport = [\n5060,\n'5080']", 2, "port: the values of a list must be all text or all numbers"),
    ("maxretry 5", 1, "not understood; a line is KEY = VALUE, [table] or # comment"),
    ("maxretry: 5", 1, "not understood; a line is KEY = VALUE, [table] or # comment"),
    ("= 5", 1, "not understood; a line is KEY = VALUE, [table] or # comment"),
    ("a b = 5", 1, "a name consists of letters, digits, - and _; other names need quotes"),
    ("a = 1\n[]", 2, "a name consists of letters, digits, - and _"),
    ('a = "x', 1, 'the quote " is not closed in this line'),
    ("\na = 'x\nb = 1", 2, "the quote ' is not closed in this line"),
    ('a = """x\n', 1, 'the quote " is not closed in this line'),
    ('a = "x" y', 1, "a: unexpected text after the closing quote"),
    ('a = "\\d"', 1, 'a: a backslash within "…" must be written twice'),
    ("\na = [\n1,\n", 2, "a bracket opened here is not closed"),
    ("[t", 1, "a bracket opened here is not closed"),
    ("[t] x", 1, "a table is written [NAME], on a line of its own"),
    ("a = {b = 1", 1, "a bracket opened here is not closed"),
    ("a = 1\nb = \x1b[2J", 2, "a control character (\\x1b)"),
    ("a = 1\rb = 2", 1, "a control character (\\r)"),
]


@pytest.mark.parametrize(("text", "line", "what"), BAD)
def test_bad_toml(text, line, what):
    """Each failure is one line: file, line, what."""
    with pytest.raises(ConfigError) as caught:
        parse(text, FILE)
    assert str(caught.value).startswith(f"{FILE}:{line}: {what}")
    assert str(caught.value).isprintable()


def test_unreadable(tmp_path):
    """What cannot be read is told by name; a FIFO does not hang."""
    (tmp_path / "latin.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    (tmp_path / "big.toml").write_bytes(b"#" * (MAX_SIZE + 1))
    os.mkfifo(tmp_path / "fifo.toml")
    cases = {
        "none.toml": "none.toml: cannot be read: No such file or directory",
        "latin.toml": "latin.toml:2: is not UTF-8 text",
        "big.toml": "big.toml: is larger than 256 KiB, too large for a configuration",
        "fifo.toml": "fifo.toml: is not a regular file",
        "": ": cannot be read: Is a directory",
    }
    for name, message in cases.items():
        with pytest.raises(ConfigError) as caught:
            read(tmp_path / name)
        assert str(caught.value).endswith(message), name


def test_name_of_file_is_escaped(tmp_path):
    """A file's name cannot command the terminal."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "\x1b[2J.toml")
    assert "\\x1b[2J.toml" in str(caught.value)


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "a",
            "b.c",
            "=",
            " ",
            "\n",
            "[",
            "]",
            "[[",
            "]]",
            "{",
            "}",
            '"',
            "'",
            '"""',
            "'''",
            "\\",
            "#",
            ",",
            "1",
            "-",
            ".",
            "true",
            "0x",
            "1e",
            "1979-05-27",
            "T",
            ":",
            "_",
            "\\u00",
            "\\U",
            "é",
            "inf",
            "nan",
            "+",
            "\t",
            "\r\n",
        ]
    ),
    max_size=25,
).map("".join)


@given(st.text(max_size=60) | FRAGMENTS | FRAGMENTS.map(lambda text: f"x = {text}"))
@example("a = " + "[" * 3000)
@example("a = " + "[" * 900 + "]" * 900)
@example("[a]\nb=1\n[[a.b]]\nc = 1")
@example("a={b=1}\n[a.c]\nd=1")
def test_garbage_is_a_config_error(text):
    """Whatever stands in a file: its values, or one printable line."""
    try:
        message = parse(text, FILE).where()
    except ConfigError as error:
        message = str(error)
    assert message.startswith(str(FILE))
    assert message.isprintable()


@given(st.binary(max_size=60))
def test_bytes_are_a_config_error(tmp_path_factory, content):
    """The same for bytes."""
    path = tmp_path_factory.getbasetemp() / "bytes.toml"
    path.write_bytes(content)
    try:
        message = read(path).where()
    except ConfigError as error:
        message = str(error)
    assert message.startswith(str(path))
    assert message.isprintable()


NAMES = st.text("abcdefgh_-123", min_size=1, max_size=4)
SCALARS = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.text("abc #='[]{},", max_size=8).map(lambda text: f'"{text}"'),
)
TABLES = st.dictionaries(NAMES, SCALARS, max_size=4)


@given(TABLES, st.dictionaries(NAMES.map(lambda name: f"t{name}"), TABLES, max_size=3))
def test_lines_of_any_file(top, tables):
    """Of every file of keys and tables, each key is found in its line, with TOML's own value or an error."""
    rows = [f"{name} = {value}" for name, value in top.items()]
    expected = {(name,): number + 1 for number, name in enumerate(top)}
    for table, keys in tables.items():
        if (table,) in expected:
            continue
        rows.append(f"[{table}]")
        expected[table,] = len(rows)
        for name, value in keys.items():
            rows.append(f"{name} = {value}")
            expected[table, name] = len(rows)
    text = "\n".join(rows)
    file = parse(text, FILE)
    assert file.lines == expected
    assert file.data == tomllib.loads(text)
