"""Questions to the daemon's control socket, from an event loop: one JSON object a line out, one in."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from sipguard.errors import SipguardError
from sipguard.sockets import cut

PATIENCE = 65.0
"""Seconds to wait for an answer."""
LONGEST_ANSWER = 16 << 20
"""Bytes. A thousand bans with their reasons take less than 1 MiB."""


PASSING = 0.0008
"""Processor seconds that the daemon spends on the connection and JSON; its own measurement leaves them out."""


class UnreachableError(SipguardError):
    """Nobody answers on the socket."""


class AnsweredNoError(SipguardError):
    """What the daemon answered instead of a result; `exit_status` 1: the answer is no, 2: the question is wrong."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


async def ask(path: Path, command: str, **arguments: Any) -> Any:
    """Put one question. Raises `UnreachableError` when there is no answer, `AnsweredNoError` when it is no."""
    return (await ask_at_cost(path, command, **arguments))[0]


async def ask_at_cost(path: Path, command: str, **arguments: Any) -> tuple[Any, float]:
    """Put one question. Returns the answer and the most processor seconds that the daemon spent on it. Raises as `ask`."""
    try:
        async with asyncio.timeout(PATIENCE):
            line = await _exchange(path, json.dumps({"command": command, **arguments}).encode() + b"\n")
        answer = json.loads(line)
    except (FileNotFoundError, ConnectionRefusedError):
        raise UnreachableError("sipguard is not running") from None
    except PermissionError:
        what = f"{path}: this user may not ask there; put its group into read_socket_group in sipguard.toml"
        raise UnreachableError(what) from None
    except TimeoutError:
        raise UnreachableError(f"sipguard gives no answer within {PATIENCE:g} s") from None
    except (OSError, ValueError) as error:
        raise UnreachableError(f"sipguard gives no answer ({error or 'connection closed'})") from error
    if not answer["ok"]:
        raise AnsweredNoError(str(answer["error"]), int(answer.get("status", 2)))
    return answer["result"], float(answer.get("took", 0.0)) + PASSING


async def _exchange(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=LONGEST_ANSWER)
    try:
        writer.write(request)
        writer.write_eof()  # nothing more will be asked
        return await reader.readline()
    finally:
        cut(writer)
