"""What NFLOG delivers, taken apart: in whatever order the attributes stand, and whatever else comes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipguard import netlink
from sipguard.sources.packets.nflog import CopyReader, free_groups
from tests.netns import namespace

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
    reader.buffer[: len(data)] = data
    reader.take(len(data), found)
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


def test_two_kinds_of_packets(monkeypatch):
    """Segments of both sides take turns: the attributes of the first of each are walked through, and of no other."""
    walked = []
    read_one = CopyReader._read
    monkeypatch.setattr(CopyReader, "_read", lambda *of: (walked.append(1), read_one(*of))[1])
    reader = CopyReader()
    read(reader, b"".join(delivery(number, b"x", prefix=b"sent" * (number % 2)) for number in range(100)))
    assert len(walked) == 2


@pytest.mark.root
def test_groups_at_the_end():
    """Behind the largest number the smallest come."""
    with namespace() as net, net.inside():
        groups = free_groups(65_534, 4)
    assert [group.number for group in groups] == [65_534, 65_535, 1, 2]
    for group in groups:
        group.close()


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
