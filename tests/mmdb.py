"""Writes small databases in MaxMind's format (maxmind.github.io/MaxMind-DB, version 2.0), for tests."""

from __future__ import annotations

import ipaddress
import struct

_UINT16, _UINT32, _UINT64 = 5, 6, 9
_MARK = b"\xab\xcd\xefMaxMind.com"


def _head(kind, size):
    assert size < 29, "small ones alone"
    return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])


def encoded(value):
    """A value as the data section has it: texts, whole numbers, tables, lists."""
    if isinstance(value, str):
        data = value.encode()
        if len(data) < 29:
            return _head(2, len(data)) + data
        assert len(data) < 285
        return bytes([2 << 5 | 29, len(data) - 29]) + data
    if isinstance(value, int):
        return encoded((_UINT32, value))
    if isinstance(value, tuple):  # kind and number
        data = value[1].to_bytes(8, "big").lstrip(b"\0")
        return _head(value[0], len(data)) + data
    if isinstance(value, dict):
        return _head(7, len(value)) + b"".join(encoded(key) + encoded(one) for key, one in value.items())
    return _head(11, len(value)) + b"".join(map(encoded, value))


def database(networks):
    """The bytes of a database: network → record. IPv4 stands in ::/96, as the format has it."""
    nodes, data, places = [[None, None]], b"", []
    for text, record in networks.items():
        network = ipaddress.ip_network(text)
        bits, length = int(network.network_address), network.prefixlen + (96 if network.version == 4 else 0)
        node = 0
        for depth in range(length - 1):
            side = bits >> (127 - depth) & 1
            if nodes[node][side] is None:
                nodes.append([None, None])
                nodes[node][side] = len(nodes) - 1
            node = nodes[node][side]
        nodes[node][bits >> (128 - length) & 1] = ("data", len(places))
        places.append(len(data))
        data += encoded(record)

    def pointer(one):
        if one is None:
            return len(nodes)
        return len(nodes) + 16 + places[one[1]] if isinstance(one, tuple) else one

    tree = b"".join(struct.pack(">I", pointer(one))[1:] for node in nodes for one in node)
    about = {
        "node_count": len(nodes),
        "record_size": (_UINT16, 24),
        "ip_version": (_UINT16, 6),
        "binary_format_major_version": (_UINT16, 2),
        "binary_format_minor_version": (_UINT16, 0),
        "build_epoch": (_UINT64, 1_700_000_000),
        "database_type": "Test",
        "languages": ["en"],
        "description": {"en": "made by a test"},
    }
    return tree + bytes(16) + data + _MARK + encoded(about)
