"""What NFLOG delivers, taken apart: in whatever order the attributes stand, and whatever else comes."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from sipguard import netlink
from sipguard.sources.packets.nflog import CopyReader

_PACKET = 4 << 8
_HEADER, _DEVICE, _PAYLOAD, _PREFIX, _SEQUENCE = 1, 4, 9, 10, 12


def delivery(number, payload, *, prefix=b"", device=True):
    """A packet as the kernel of today writes it: the payload last."""
    body = netlink.attribute(_HEADER, b"\x08\0\0\0")
    body += netlink.attribute(_PREFIX, prefix + b"\0") if prefix else b""
    body += netlink.attribute(_DEVICE, b"\0\0\0\2") if device else b""
    body += netlink.attribute(_SEQUENCE, struct.pack(">I", number)) + netlink.attribute(_PAYLOAD, payload)
    return netlink.message(_PACKET, 0, 2, body)


def read(reader, data):
    """What it finds in one delivery."""
    found = []
    reader.take(data, found)
    return found


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"", b"flush", b"failed", b"sent", b"source"]), st.booleans(), st.binary(max_size=90)
        ),
        max_size=12,
    )
)
def test_deliveries(packets):
    """Prefixes and payloads as they were sent, however they alternate; nothing is missing."""
    reader = CopyReader()
    data = b"".join(
        delivery(number, payload, prefix=prefix, device=device)
        for number, (prefix, device, payload) in enumerate(packets)
    )
    assert read(reader, data) == [(prefix, payload) for prefix, _, payload in packets]
    assert reader.lost == 0


@given(
    st.lists(st.tuples(st.sampled_from([b"", b"failed"]), st.sets(st.sampled_from([5, 15, 16, 17]))), max_size=8),
    st.integers(0, 80),
)
def test_no_layout_of_a_sender(packets, before):
    """Packets of interfaces of several kinds, each with what looks like the end of another delivery in its payload."""
    forged = netlink.attribute(_SEQUENCE, struct.pack(">I", 0)) + netlink.attribute(_PAYLOAD, b"forged")
    reader, found = CopyReader(), []
    for number, (prefix, more) in enumerate(packets):
        body = netlink.attribute(_HEADER, b"\x08\0\0\0")
        body += netlink.attribute(_PREFIX, prefix + b"\0") if prefix else b""
        body += netlink.attribute(_DEVICE, b"\0\0\0\2")
        body += b"".join(netlink.attribute(one, bytes(one)) for one in sorted(more))
        body += netlink.attribute(_SEQUENCE, struct.pack(">I", number))
        body += netlink.attribute(_PAYLOAD, bytes(before & ~3) + forged)
        found += read(reader, netlink.message(_PACKET, 0, 2, body))
    assert found == [(prefix, bytes(before & ~3) + forged) for prefix, _ in packets]
    assert reader.lost == 0


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_gaps(steps):
    """Numbers that are left out are packets that were lost, also where the number begins anew."""
    reader = CopyReader()
    number, missing = 0xFFFFFFF0, 0
    read(reader, delivery(number, b"x"))
    for step in steps:
        number = (number + step) % 2**32
        missing += step - 1
        read(reader, delivery(number, b"x"))
    assert reader.lost == missing


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_anything(data, end):
    """Nonsense ends, without an error, and spoils nothing that comes after."""
    reader = CopyReader()
    read(reader, data)
    read(reader, delivery(1, b"payload") + end)
    assert read(reader, delivery(2, b"next", prefix=b"failed")) == [(b"failed", b"next")]
