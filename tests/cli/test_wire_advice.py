"""What `check` says of SIP servers that the wire would not see; and which sockets are found, in a /proc that is made up."""

from __future__ import annotations

from sipguard.cli.wire_advice import wire_advice
from sipguard.config.settings import load
from sipguard.sources.packets.listening import Bound, SipServers, SipSocket, find

_LINE = "   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000   0 0 {inode} 1\n"
ANY, LOOPBACK = "00000000", "0100007F"


def process(proc, number, name, *, inodes=(), space="net:[1]"):
    """A process as proc(5) shows it."""
    folder = proc / str(number)
    (folder / "fd").mkdir(parents=True)
    (folder / "ns").mkdir()
    (folder / "comm").write_text(f"{name}\n")
    if space:
        (folder / "ns" / "net").symlink_to(space)
    for place, inode in enumerate(inodes):
        (folder / "fd" / str(place)).symlink_to(f"socket:[{inode}]")


def table(proc, name, *sockets):
    """A table of sockets: (address, port, state, inode)."""
    net = proc / "self" / "net"
    net.mkdir(parents=True, exist_ok=True)
    lines = (_LINE.format(address=where, port=port, state=state, inode=inode) for where, port, state, inode in sockets)
    (net / name).write_text("head\n" + "".join(lines))


def test_sockets_are_found(tmp_path):
    """SIP's ports of SIP servers, media and other services left out, and who cannot be seen."""
    process(tmp_path, 10, "asterisk", inodes=[1, 2, 3, 4, 5, 6, 7])
    process(tmp_path, 11, "sshd", inodes=[8])
    process(tmp_path, 12, "kamailio", space="net:[2]")
    process(tmp_path, 13, "freeswitch", space="")
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "net").symlink_to("net:[1]")
    table(tmp_path, "tcp", (ANY, 5060, "0A", 1), (ANY, 5038, "0A", 2), (LOOPBACK, 8088, "0A", 3), (ANY, 22, "0A", 8))
    table(tmp_path, "udp6")
    table(
        tmp_path,
        "udp",
        (ANY, 5062, "07", 99),
        (ANY, 5070, "07", 4),
        (ANY, 12000, "07", 5),
        (ANY, 6000, "07", 6),
        (ANY, 4569, "07", 7),
    )
    assert find(tmp_path) == SipServers(
        (SipSocket("asterisk", "tcp", 5060), SipSocket("asterisk", "udp", 5070), SipSocket("root", "udp", 5062)),
        (SipSocket("asterisk", "udp", 6000),),
        ("kamailio (process 12)",),
        ("freeswitch (process 13)",),
        (Bound("asterisk", "0.0.0.0", 5060), Bound("asterisk", "0.0.0.0", 5070), Bound("root", "0.0.0.0", 5062)),
    )


def test_places_are_found(tmp_path):
    """The addresses that profiles of a server are bound to, of both families."""
    process(tmp_path, 10, "freeswitch", inodes=[1, 2, 3])
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "net").symlink_to("net:[1]")
    table(tmp_path, "udp", ("016433C6", 5060, "07", 1), ("016433C6", 5080, "07", 2))
    table(tmp_path, "udp6", ("B80D0120000000000000000001000000", 5060, "07", 3))
    assert find(tmp_path).bound == (
        Bound("freeswitch", "198.51.100.1", 5060),
        Bound("freeswitch", "198.51.100.1", 5080),
        Bound("freeswitch", "2001:db8::1", 5060),
    )


def test_advice(tmp_path):
    """Each blind spot is one line that says what to do."""
    path = tmp_path / "sipguard.toml"
    path.write_text(
        '[wire]\nenabled = true\nports = [5060]\ncorroborate = ["gone"]\n[firewall]\nbackend = "iptables"\n'
    )
    servers = SipServers(
        (), (SipSocket("asterisk", "udp", 6000),), ("kamailio (process 12)",), ("freeswitch (process 13)",)
    )
    told = list(wire_advice(load(path), servers))
    assert len(told) == 5
    for part in (
        "asterisk: udp 6000 listens",
        "macvlan",
        "freeswitch (process 13) cannot",
        "no jail gone",
        "cannot meter",
    ):
        assert sum(part in line for line in told) == 1
    path.write_text("[wire]\nenabled = true\n")
    assert "no port to watch" in next(wire_advice(load(path), SipServers((), (), (), ())))


def test_too_many_ranges(tmp_path):
    """At most a hundred ranges of ports are watched; which are not is said, by `check` and by the watch."""
    path = tmp_path / "sipguard.toml"
    path.write_text(f"[wire]\nenabled = true\nports = {list(range(6000, 6210, 2))}\n")
    servers = SipServers((SipSocket("asterisk", "udp", 6204), SipSocket("asterisk", "udp", 6100)), (), (), ())
    ports, listens, *_ = wire_advice(load(path), servers)
    assert "not watched: ports from 6200 on, as 105 ranges are named and 100 can be watched" in ports
    assert "asterisk: udp 6204 listens and is not watched" in listens
