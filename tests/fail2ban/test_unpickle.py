"""The corpus of pickles: what clients send is read, everything else is refused, and nothing is run or grows without bound."""

from __future__ import annotations

import contextlib
import pickle
import struct
import time
import tracemalloc

import pytest
from effort import examples, part
from hypothesis import given
from hypothesis import strategies as st

from sipguard.fail2ban.protocol.answers import RemoteError, read
from sipguard.fail2ban.protocol.unpickle import LONGEST, UnpickleError, loads

VALUES = [
    ["status"],
    ["set", "alpha", "banip", "192.0.2.1", "2001:db8::1"],
    ["reload", "--all", ["--unban"], [["add", "alpha", "auto"], ["set", "dbmaxmatches", 10], ["set", "x", True]]],
    [],
    (),
    (1,),
    (1, 2, 3),
    (1, 2, 3, 4, 5),
    {"a": 1, "b": [None, True, False]},
    [0, 255, 256, 65_535, 65_536, -1, 2**31, -(2**31), 2**70, -(2**70)],
    [1.5, -0.0, 1e300],
    ["", "\u20ac\U0001f600", "line\nbreak 'and' \"quotes\" \\", "x" * 300, "y" * 70_000],
    ["same", "same", ["same"]],
    "text",
    7,
    None,
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_plain_data(protocol, value):
    """Whatever protocol the client speaks."""
    assert loads(pickle.dumps(value, protocol)) == value
    assert type(loads(pickle.dumps(value, protocol))) is type(value)


@pytest.mark.parametrize(
    "value", [b"bytes", {"a", "b"}, frozenset({"a"}), [bytearray(b"x")]], ids=["bytes", "set", "frozenset", "bytearray"]
)
def test_kinds_of_later_protocols(value):
    """Sets and bytes have opcodes of their own from protocol 4 on; a bytearray comes as bytes."""
    expected = [b"x"] if isinstance(value, list) else value
    assert loads(pickle.dumps(value, 5)) == expected


FOREIGN = [
    pytest.param(b"](U\x06statusU\x05alphae.", ["status", "alpha"], id="og-rek: SHORT_BINSTRING, no PROTO"),
    pytest.param(b"](U\x04pingK\x64e.", ["ping", 100], id="og-rek with a number"),
    pytest.param(b"(lp0\nS'ping'\np1\na.", ["ping"], id="Python 2, protocol 0"),
    pytest.param(b"\x80\x02]q\x01(U\x03getq\x02T\x05\x00\x00\x00alphae.", ["get", "alpha"], id="Python 2, protocol 2"),
    pytest.param(b"(dS'a'\nI01\nsS'b'\nI00\ns.", {"a": True, "b": False}, id="truth of protocol 1"),
    pytest.param(b"](L12L\nL-3\nI7\nF1.5\ne.", [12, -3, 7, 1.5], id="numbers as text"),
    pytest.param(b"(I1\nI2\nt0N.", None, id="popped"),
    pytest.param(b"(I1\n(I2\n1I3\nl.", [1, 3], id="popped to a mark"),
    pytest.param(b"]2a.", [[]], id="a list that would hold itself holds a copy"),
    pytest.param(b"]q\x00h\x00a.", [[]], id="the same by way of the memo"),
]


@pytest.mark.parametrize(("data", "value"), FOREIGN)
def test_foreign_writers(data, value):
    """What Python itself would not write."""
    assert loads(data) == value


class Hostile:
    """What a pickle must not be able to do: call anything."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_run(tmp_path, protocol):
    """A call in a pickle does not happen, wherever in it it stands."""
    import os

    trace = tmp_path / "trace"
    for wrap in (lambda one: one, lambda one: ["status", one], lambda one: {"a": (one,)}):
        with pytest.raises(UnpickleError):
            loads(pickle.dumps(wrap(Hostile(os.mkdir, str(trace))), protocol))
    assert not trace.exists()


HOSTILE = [
    pytest.param(b"cos\nsystem\n(S'true'\ntR.", id="GLOBAL and REDUCE"),
    pytest.param(b"cbuiltins\nstr\n(S'x'\ntR.", id="even str"),
    pytest.param(b"(ios\nsystem\n.", id="INST"),
    pytest.param(b"(cos\nsystem\nS'true'\no.", id="OBJ"),
    pytest.param(b"\x8c\x02os\x8c\x06system\x93.", id="STACK_GLOBAL"),
    pytest.param(b"]}b.", id="BUILD"),
    pytest.param(b"]\x81.", id="NEWOBJ"),
    pytest.param(b"])}\x92.", id="NEWOBJ_EX"),
    pytest.param(b"Pid\n.", id="PERSID"),
    pytest.param(b"]Q.", id="BINPERSID"),
    pytest.param(b"\x82\x01.", id="EXT1"),
    pytest.param(b"\x83\x01\x00.", id="EXT2"),
    pytest.param(b"\x84\x01\x00\x00\x00.", id="EXT4"),
    pytest.param(b"\x97.", id="NEXT_BUFFER"),
    pytest.param(b"]\x98.", id="READONLY_BUFFER"),
    pytest.param(b"])R.", id="REDUCE of a list"),
    pytest.param(b"S'x'\n)R.", id="REDUCE of text"),
    pytest.param(b"\x80\x06N.", id="a protocol to come"),
    pytest.param(b"", id="nothing"),
    pytest.param(b".", id="an empty stack"),
    pytest.param(b"(.", id="a mark as the value"),
    pytest.param(b"(q\x00.", id="a mark remembered"),
    pytest.param(b"h\x07.", id="never remembered"),
    pytest.param(b"NNa.", id="APPEND to nothing"),
    pytest.param(b"N(e.", id="APPENDS to nothing"),
    pytest.param(b"}(K\x01u.", id="half a pair"),
    pytest.param(b"}]Ns.", id="a key that cannot be one"),
    pytest.param(b"\x8f(]\x90.", id="a member that cannot be one"),
    pytest.param(b"X\xff\xff\xff\xffx.", id="BINUNICODE longer than the pickle"),
    pytest.param(b"\x8d" + b"\xff" * 8 + b"x.", id="BINUNICODE8 of 16 EiB"),
    pytest.param(b"\x8e" + b"\xff" * 7 + b"\x7fx.", id="BINBYTES8 of 8 EiB"),
    pytest.param(b"\x8b\xff\xff\xff\x7f.", id="LONG4 of 2 GiB"),
    pytest.param(b"\x8b\xff\xff\xff\xff.", id="LONG4 of a negative length"),
    pytest.param(b"L" + b"9" * 100_000 + b"L\n.", id="a number of 100,000 digits"),
    pytest.param(b"I" + b"9" * 100_000 + b"\n.", id="the same as INT"),
    pytest.param(b"g" + b"9" * 100_000 + b"\n.", id="the same as an index"),
    pytest.param(b"X\x02\x00\x00\x00\xff\xfe.", id="no UTF-8"),
    pytest.param(b"S'x\n.", id="no closing quote"),
    pytest.param(b"S'\\xff'\n.", id="an escape that is no UTF-8"),
    pytest.param(b"V\\ud800\n.", id="half a surrogate pair"),
    pytest.param(b"Fnot\n.", id="no number"),
    pytest.param(b"GET /status HTTP/1.1\r\n\r\n", id="HTTP"),
    pytest.param(b'{"command": "status"}\n', id="JSON"),
]


@pytest.mark.parametrize("data", HOSTILE)
def test_refused(data):
    """Anything but plain data, and anything malformed, is one kind of error."""
    with pytest.raises(UnpickleError):
        loads(data)


def _laughs() -> bytes:
    """Each list holds ten of the one before it: 10^12 objects when it is printed."""
    layers = b"](U\x03hahe" + b"\x94"
    for number in range(12):
        layers += b"](" + (b"h" + bytes([number])) * 10 + b"e\x94"
    return layers + b"."


def _colliding() -> bytes:
    """Numbers whose hashes are all the same: a dict of them takes quadratic time."""
    modulus = (1 << 61) - 1
    keys = b"".join(b"\x8a\x0a" + (modulus * number).to_bytes(10, "little") + b"N" for number in range(40_000))
    return b"}(" + keys + b"u."


MILLIONS = part(5_000_000)
BOMBS = {
    "a billion laughs": _laughs,
    "90,000 times a MiB": lambda: b"X\x00\x00\x10\x00" + b"a" * (1 << 20) + b"\x94](" + b"h\x00" * 90_000 + b"e.",
    "millions of lists": lambda: b"]" * MILLIONS,
    "millions of sets": lambda: b"\x8f" * MILLIONS + b".",
    "millions of marks": lambda: b"(" * MILLIONS + b".",
    "nested 50,000 deep": lambda: b"]" * 50_000 + b"a" * 49_999 + b".",
    "nested tuples": lambda: b")" + b"\x85" * 90_000 + b".",
    "DUP": lambda: b"N" + b"2" * MILLIONS + b".",
    "a large memo": lambda: b"N" + b"".join(b"r" + struct.pack("<I", n) for n in range(400_000)) + b".",
    "a far place in the memo": lambda: b"Nr\xff\xff\xff\xffj\xff\xff\xff\xfe.",
    "millions of texts": lambda: b"](" + b"U\x02ab" * (MILLIONS // 2) + b"e.",
    "keys that collide": _colliding,
    "an endless frame": lambda: b"\x95" + b"\xff" * 8,
    "too long": lambda: b"U\x01x" * (LONGEST // 3 + 1),
}
"""Made when they are tried: every process that collects the tests would make them all."""


@pytest.mark.more
@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs(bomb):
    """Refused soon, and before they have taken much memory."""
    data = BOMBS[bomb]()
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(UnpickleError):
            loads(data)
        assert time.process_time() - began < 5
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_ten_megabytes():
    """As long as may be, and harmless."""
    text = "x" * (LONGEST - 100)
    assert loads(pickle.dumps(["echo", text], 5)) == ["echo", text]


@pytest.mark.parametrize("protocol", range(6))
def test_truncated(protocol):
    """A pickle cut anywhere is refused."""
    data = pickle.dumps(VALUES[2], protocol)
    for end in range(len(data)):
        with pytest.raises(UnpickleError):
            loads(data[:end])


@given(st.binary(max_size=200))
@examples(100)
def test_garbage(data):
    """Any bytes: plain data or the one error."""
    with contextlib.suppress(UnpickleError):
        repr(loads(data))


OPCODES = st.sampled_from(
    [bytes([code]) for code in b"(.012FIJKLMNSTUVXabde}ghjl]sut)pqrGBCcR\x80\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94"]
)


@given(st.lists(st.one_of(OPCODES, st.binary(max_size=4)), max_size=60).map(b"".join))
@examples(100)
def test_programs(data):
    """Bytes that are opcodes more often than by chance."""
    with contextlib.suppress(UnpickleError):
        repr(loads(data + b"."))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(PLAIN, st.integers(0, 5))
@examples(50)
def test_whatever_python_writes(value, protocol):
    """Plain data of any shape comes back the same."""
    assert loads(pickle.dumps(value, protocol)) == value


def test_answers_of_a_server():
    """A client reads addresses that come as calls of str, and errors as what can be shown; nothing else is built."""
    assert read(pickle.dumps((0, ["x"]), 5)) == (0, ["x"])
    assert read(b"K\x00](cbuiltins\nstr\n(S'192.0.2.1'\ntRe\x86.") == (0, ["192.0.2.1"])
    status, error = read(b"K\x01cfail2ban.exceptions\nUnknownJailException\n(S'x'\ntR\x86.")
    assert status == 1
    assert isinstance(error, RemoteError)
    assert (error.kind, error.args) == ("UnknownJailException", ("x",))
    many = [f"192.0.2.{number}" for number in range(200_000)]
    assert read(pickle.dumps((0, many), 5)) == (0, many)
    with pytest.raises(UnpickleError):
        read(b"cos\nsystem\n(S'true'\ntR.")


@pytest.mark.parametrize("protocol", range(3, 6))
def test_what_an_error_brings_beside_its_arguments(protocol):
    """From Python 3.12 on an `AttributeError` says its name there too: the error is read, and no attribute is set."""

    class Refusal:
        def __reduce__(self):
            return AttributeError, ("no attribute 'x'",), {"name": "x", "args": ("no attribute 'x'",), "kind": "other"}

    status, error = read(pickle.dumps((1, Refusal()), protocol))
    assert status == 1
    assert (error.kind, str(error)) == ("AttributeError", "no attribute 'x'")
    assert not hasattr(error, "name")
    with pytest.raises(UnpickleError, match="is a class"):
        loads(pickle.dumps((1, Refusal()), protocol))


@pytest.mark.parametrize("data", [b"]}b.", b"}}b.", b"S'x'\n}b.", b"cbuiltins\nstr\n}b.", b"}b."])
def test_only_an_error_brings_more(data):
    """Nor does an answer build anything else."""
    with pytest.raises(UnpickleError):
        read(data)
