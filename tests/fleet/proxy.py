"""A TCP proxy between a node and Redis that can be cut, or stall as a network does that loses every packet."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading


class Proxy:
    """Forwards until `cut` or `stall`; `heal` ends both. What was under way when it was cut is lost."""

    def __init__(self, host, port):
        self._target = host, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._mode = "open"
        self._pairs = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def cut(self):
        """Connections end, new ones too."""
        self._mode = "cut"

    def stall(self):
        """Nothing comes through; nobody is told."""
        self._mode = "stall"

    def heal(self):
        """What had stalled is gone: such a connection is closed."""
        if self._mode != "open":
            self._mode = "close"

    def close(self):
        self._mode = "end"
        self._thread.join(10)
        self._listener.close()
        self._selector.close()

    def _run(self):
        while self._mode != "end":
            if self._mode in ("cut", "close"):
                self._drop_all()
                if self._mode == "close":
                    self._mode = "open"
            for key, _ in self._selector.select(0.02):
                if key.fileobj is self._listener:
                    self._accept()
                elif self._mode != "stall":
                    self._forward(key.fileobj)
        self._drop_all()

    def _accept(self):
        near, _ = self._listener.accept()
        if self._mode == "cut":
            near.close()
            return
        try:
            far = socket.create_connection(self._target, timeout=2)
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, one):
        if one not in self._pairs:
            return
        try:
            data = one.recv(1 << 16)
            if data:
                self._pairs[one].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._drop(one)

    def _drop(self, one):
        other = self._pairs.pop(one, None)
        self._pairs.pop(other, None)
        for end in (one, other):
            if end is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(end)
                end.close()

    def _drop_all(self):
        for one in list(self._pairs):
            if one in self._pairs:
                self._drop(one)
