"""Ports of this machine that nobody listens on."""

import socket


def free_port(host="127.0.0.1"):
    """One of TCP."""
    return _free(socket.SOCK_STREAM, host)


def free_udp_port(host="127.0.0.1"):
    """One of UDP."""
    return _free(socket.SOCK_DGRAM, host)


def _free(kind, host):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((host, 0))
        return sock.getsockname()[1]
