"""Ports of this machine that nobody listens on, and that the kernel gives to nobody until their server has begun."""

import random
import socket
from pathlib import Path

_LOWEST_OF_THE_KERNEL = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
_FIRST = 10_000
_END = _LOWEST_OF_THE_KERNEL if _LOWEST_OF_THE_KERNEL > _FIRST + 1000 else 65_536
"""Where the kernel leaves too few, they are of its own range."""
_random = random.Random()  # nobody else's seed: two processes would choose the same


def free_port(host="127.0.0.1"):
    """One of TCP."""
    return _free(socket.SOCK_STREAM, host)


def free_udp_port(host="127.0.0.1"):
    """One of UDP."""
    return _free(socket.SOCK_DGRAM, host)


def _free(kind, host):
    while True:
        port = _random.randrange(_FIRST, _END)
        try:
            with socket.socket(socket.AF_INET, kind) as sock:
                sock.bind((host, port))
        except OSError:  # it is another's
            continue
        return port
