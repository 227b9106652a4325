"""Why a server of events is out of reach, in the system's words."""

from __future__ import annotations

import asyncio
import socket

import pytest

from sipguard.sources.event_connection import _why


@pytest.mark.parametrize(("error", "said"), [(OSError("no route"), "no route"), (EOFError(), "connection lost")])
def test_without_a_number(error, said):
    """As the error says it, or that the connection was lost."""
    assert _why(error) == said


def test_refused():
    """Without asyncio's own text, which is a tuple of Python."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="Connect call failed") as refused:
            asyncio.run(asyncio.open_connection(*taken.getsockname()))
        assert _why(refused.value) == "Connection refused"
