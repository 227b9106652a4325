"""libnftables in this process, through ctypes (libnftables(3)). Nothing else is in this file: here a mistake is a crash.

One context is one netlink socket, in the network namespace of the thread that makes it, and no two threads may be inside it.
A call cannot be ended from outside; the kernel answers each before it returns.
"""

from __future__ import annotations

import ctypes
import socket
import threading
import weakref
from typing import NamedTuple

SONAME = "libnftables.so.1"
_NETLINK_NETFILTER = 12
_CONTEXT, _TEXT = ctypes.c_void_p, ctypes.c_char_p
_FUNCTIONS = {
    "nft_ctx_new": (_CONTEXT, [ctypes.c_uint32]),
    "nft_ctx_free": (None, [_CONTEXT]),
    "nft_ctx_buffer_output": (ctypes.c_int, [_CONTEXT]),
    "nft_ctx_buffer_error": (ctypes.c_int, [_CONTEXT]),
    "nft_ctx_get_output_buffer": (_TEXT, [_CONTEXT]),
    "nft_ctx_get_error_buffer": (_TEXT, [_CONTEXT]),
    "nft_run_cmd_from_buffer": (ctypes.c_int, [_CONTEXT, _TEXT]),
}


class Output(NamedTuple):
    """What the library made of a script. Both texts are copies: the library's own do not outlive the next call."""

    done: bool
    output: str
    complaint: str


class Libnftables:
    """The library. Raises `OSError` where it is not installed, or is not one that we know."""

    def __init__(self, soname: str = SONAME) -> None:
        self._library = ctypes.CDLL(soname)
        for name, (result, arguments) in _FUNCTIONS.items():
            try:
                function = getattr(self._library, name)
            except AttributeError:
                raise OSError(f"{soname} has no function {name}") from None
            function.restype, function.argtypes = result, arguments
        self._context: int | None = None
        self._free: weakref.finalize[..., Libnftables] | None = None
        self._inside = threading.Lock()

    def run(self, script: str) -> Output:
        """Do a script (nft(8)), all of it or nothing. Raises `OSError` where the kernel gives no netlink socket for nf_tables.

        Raises `ValueError` for a script that is not ASCII or has a NUL in it, at which the library would stop reading.
        """
        text = script.encode("ascii")
        if b"\0" in text:
            raise ValueError("a script for nf_tables has a NUL in it")
        if not self._inside.acquire(blocking=False):
            raise RuntimeError("libnftables is used by two threads at once")
        try:
            context = self._context or self._open()
            done = self._library.nft_run_cmd_from_buffer(context, text) == 0
            answer = Output(
                done,
                _text(self._library.nft_ctx_get_output_buffer(context)),
                _text(self._library.nft_ctx_get_error_buffer(context)),
            )
            if not done:
                # Answers of the kernel that the library has left unread must not be taken for those to the next script.
                self._close()
            return answer
        finally:
            self._inside.release()

    def close(self) -> None:
        """Free the context; the next `run` makes another. By the thread that runs scripts, or when it is at its end."""
        with self._inside:
            self._close()

    def _open(self) -> int:
        # Where it gets no socket, nft_ctx_new ends the process (netlink_init_error): so one is asked for first.
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER).close()
        context: int | None = self._library.nft_ctx_new(0)
        if not context:
            raise OSError("libnftables has no memory")
        if self._library.nft_ctx_buffer_output(context) or self._library.nft_ctx_buffer_error(context):
            self._library.nft_ctx_free(context)
            raise OSError("libnftables has no memory for its output")
        self._context = context
        self._free = weakref.finalize(self, self._library.nft_ctx_free, context)
        return context

    def _close(self) -> None:
        if self._free:
            self._free()
        self._context = self._free = None


def _text(buffer: bytes | None) -> str:
    return (buffer or b"").decode("utf-8", "replace")
