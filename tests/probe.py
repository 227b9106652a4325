"""A banned address that never stops trying: when did its last datagram come through?"""

from __future__ import annotations

import socket
import subprocess
import threading
import time

BANNED, SERVER, PORT = "203.0.113.5", "198.51.100.1", 5060
BACK = {"nftables": 0.3, "ipset": 0.3, "iptables": 2.0}
"""Seconds after a step of others at which no banned packet comes through any more; legacy iptables tells of no changes."""


def lay(net):
    """Give a namespace the addresses of both ends, on its loopback. The daemon there must not ignore its own addresses."""
    for address in (BANNED, SERVER):
        subprocess.run(["ip", "-n", net.name, "address", "add", f"{address}/32", "dev", "lo"], check=True)


class Probe:
    """Sends a datagram from a banned address every two milliseconds and notes when the last one came through."""

    def __init__(self):
        self.through = 0.0
        self._listener = socket.socket(type=socket.SOCK_DGRAM)
        self._listener.bind((SERVER, PORT))
        self._listener.setblocking(False)
        self._sender = socket.socket(type=socket.SOCK_DGRAM)
        self._sender.bind((BANNED, 0))
        self._sender.connect((SERVER, PORT))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
        self._listener.close()
        self._sender.close()

    def _run(self):
        while not self._end.wait(0.002):
            try:
                self._sender.send(b"x")
                self._listener.recv(10)
            except OSError:  # rejected, or nothing has come, or another firewall lets nobody send
                continue
            self.through = time.monotonic()
