"""How the page was started."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from sipguard.errors import SipguardError

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True)
class PageOptions:
    """Raises `SipguardError` for what does not go together."""

    listen: str
    """`ADDRESS:PORT`, or the absolute path of a socket."""
    read_socket: Path
    write_socket: Path | None = None
    """Where bans are made and ended; None: nowhere."""
    hosts: tuple[str, ...] = ()
    """Names under which browsers may ask for it, beside those of this machine's loopback."""
    proxies: tuple[str, ...] = ()
    """Addresses of reverse proxies; where there are any, nobody else is answered over TCP."""
    user_header: str = ""
    """In which a proxy names the user that it has let in; empty: none does."""
    state_dir: Path = Path("/var/lib/sipguard-web")
    idle: float = 1800.0
    """Seconds without a request after which a session ends."""
    longest: float = 43200.0
    """Seconds after which it ends in any case."""

    def __post_init__(self) -> None:
        for proxy in self.proxies:
            _address(proxy, "--proxy")
        if self.unix:
            return
        if not self.port.isdigit() or not 0 <= int(self.port) < 65536:
            raise SipguardError(f"--listen {self.listen}: write an address and a port, e.g. 127.0.0.1:8470, or a path")
        loopback = self.address == "localhost" or _address(self.address, "--listen").is_loopback
        if not loopback and not self.proxies:
            what = (
                "whoever can reach it would read tokens on their way; listen on 127.0.0.1, or name the --proxy with TLS"
            )
            raise SipguardError(f"--listen {self.listen}: {what}")
        if self.user_header and not self.proxies:
            raise SipguardError("--user-header: name the --proxy that sets it, or listen on a Unix socket")

    @property
    def unix(self) -> bool:
        """Whether it listens on a Unix socket, which only those reach whom its permissions let."""
        return self.listen.startswith("/")

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> str:
        """Where it listens, in digits."""
        return self.listen.rpartition(":")[2]

    def knows_host(self, host: str) -> bool:
        """Whether a `Host` header names this page: no other name that leads here does (DNS rebinding)."""
        name, colon, port = host.rpartition(":")
        if not colon or host.endswith("]"):
            name, port = host, ""
        if any(host == one or (name == one and port in ("80", "443")) for one in self.hosts):
            return True
        return name in LOOPBACK_NAMES and (self.unix or bool(self.proxies) or port == self.port)

    def trusts(self, client: str) -> bool:
        """Whether this peer is a proxy whose headers are believed; `client` is its address, empty on a Unix socket."""
        return self.unix or client in self.proxies


def _address(text: str, option: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise SipguardError(f"{option} {text}: no address; write e.g. 127.0.0.1") from None
