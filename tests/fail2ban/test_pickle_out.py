"""Answers are pickled byte for byte as Fail2ban's server pickles them, without its classes."""

from __future__ import annotations

import pickle
import sys
import types

import pytest

from sipguard.errors import SipguardError
from sipguard.fail2ban.protocol import pickle_out
from sipguard.fail2ban.protocol.messages import (
    DuplicateJailError,
    InvalidCommandError,
    RegexError,
    UnknownJailError,
)


@pytest.fixture
def classes(monkeypatch):
    """Classes under Fail2ban's names, as its client would import them."""
    made = {}
    names = {
        "fail2ban.exceptions": (("UnknownJailException", KeyError), ("DuplicateJailException", Exception)),
        "fail2ban.server.failregex": (("RegexException", Exception),),
    }
    for module, members in names.items():
        fake = types.ModuleType(module)
        for name, base in members:
            made[name] = type(name, (base,), {"__module__": module})
            setattr(fake, name, made[name])
        monkeypatch.setitem(sys.modules, module, fake)
    for package in ("fail2ban", "fail2ban.server"):
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    return {
        **made,
        **{kind.__name__: kind for kind in (Exception, IndexError, ValueError, FileNotFoundError, NameError)},
    }


ERRORS = [
    (UnknownJailError("x"), "UnknownJailException", ("x",)),
    (DuplicateJailError("alpha"), "DuplicateJailException", ("alpha",)),
    (RegexError("no\nregex \u20ac" + "y" * 300), "RegexException", ("no\nregex \u20ac" + "y" * 300,)),
    (InvalidCommandError("Invalid command"), "Exception", ("Invalid command",)),
    (IndexError("list index out of range"), "IndexError", ("list index out of range",)),
    (ValueError(), "ValueError", ()),
    (ValueError(1, 2, 70_000, "four"), "ValueError", (1, 2, 70_000, "four")),
    (FileNotFoundError(2, "No such file", "/nonexistent"), "FileNotFoundError", (2, "No such file", "/nonexistent")),
    (SipguardError("the firewall has not taken it"), "Exception", ("the firewall has not taken it",)),
    (ValueError(object), "ValueError", (str(object),)),
]


@pytest.mark.parametrize(
    ("error", "name", "arguments"), ERRORS, ids=[f"{one[1]}-{at}" for at, one in enumerate(ERRORS)]
)
def test_errors(classes, error, name, arguments):
    """The same bytes as if the class had been imported: the unmodified client builds its own error of it."""
    expected = (1, classes[name](*arguments))
    data = pickle_out.failure(error)
    status, built = pickle.loads(data)
    assert (status, type(built), built.args) == (1, classes[name], expected[1].args)
    if arguments != (1, 2, 70_000, "four"):
        assert data == pickle.dumps(expected, 5)


def test_success_keeps_shapes():
    """Tuples and lists are told apart, counts are integers: exporters in typed languages rely on it."""
    value = [("Filter", [("Currently failed", 0), ("File list", ["/var/log/x"])])]
    assert pickle.loads(pickle_out.success(value)) == (0, value)
    assert pickle_out.success(value) == pickle.dumps((0, value), 5)


def test_unreadable():
    """A request that cannot be read is answered by a text."""
    assert pickle.loads(pickle_out.unreadable("why")) == "ERROR: why"
