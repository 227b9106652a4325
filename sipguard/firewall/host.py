"""What this host's own firewall is made of, found out by looking: iptables of which kind, nf_tables, ipset."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path
from typing import Literal

from sipguard.errors import FirewallError, pip_install
from sipguard.firewall import programs

Kind = Literal["nf_tables", "legacy", "none"]

CAP_DAC_READ_SEARCH, CAP_NET_ADMIN = 2, 12
"""Their bits in a set of capabilities: linux/capability.h."""
SAVERS = {
    "/usr/share/netfilter-persistent/plugins.d/15-ip4tables": "iptables-persistent",
    "/usr/share/netfilter-persistent/plugins.d/25-ip6tables": "iptables-persistent",
    "/etc/iptables/rules.v4": "/etc/iptables/rules.v4",
    "/etc/iptables/rules.v6": "/etc/iptables/rules.v6",
    "/usr/libexec/iptables/iptables.init": "the service iptables",
    "/etc/sysconfig/iptables": "/etc/sysconfig/iptables",
    "/etc/sysconfig/ip6tables": "/etc/sysconfig/ip6tables",
    "/etc/iptables/iptables.rules": "/etc/iptables/iptables.rules",
    "/etc/iptables/rules-save": "/etc/iptables/rules-save",
    "/var/lib/iptables/rules-save": "/var/lib/iptables/rules-save",
    "/etc/iptables.rules": "/etc/iptables.rules",
    "/etc/iptables.up.rules": "/etc/iptables.up.rules",
}
"""What saves and restores iptables' rules on Debian, Red Hat, Arch, Alpine, Gentoo, and by old instructions: path → name."""
SETS = "--match-set sg_"
"""In a saved rule set: a rule of sipguard's."""
_LEGACY_TABLES = Path("/proc/net/ip_tables_names")
"""The legacy tables that are in use here; root alone may read it."""


def iptables_kind(program: str = "iptables") -> Kind:
    """Tell which tables the host's iptables works on; before 1.8 there was only the legacy kind, and -V does not say so."""
    if not programs.installed(program):
        return "none"
    try:
        version = programs.run([program, "-V"], package="iptables")
    except FirewallError:
        return "none"
    return "nf_tables" if "nf_tables" in version else "legacy"


def legacy_tables() -> list[str] | None:
    """Name the legacy tables in use; None when we may not know."""
    try:
        return _LEGACY_TABLES.read_text().split()
    except PermissionError:
        return None
    except OSError:
        return []


def may_open_raw_sockets() -> bool:
    """Whether we have CAP_NET_RAW: without it legacy tables are closed, and the match `set` of iptables does not work."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).close()
    except OSError:
        return False
    return True


def may_change_firewalls() -> bool:
    """Whether we have CAP_NET_ADMIN, without which no firewall can even be asked."""
    return has_right(CAP_NET_ADMIN)


def has_right(capability: int) -> bool:
    """Whether this process has a capability now (capabilities(7), proc(5))."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return os.geteuid() == 0
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) & 1 << capability)


def legacy_refusal(program: str = "iptables") -> str:
    """Say why rules in legacy tables would be out of place here, and what to choose; empty when they are in place."""
    kind = iptables_kind(program)
    if kind == "nf_tables":
        return (
            "backend iptables is for legacy tables, but this host's iptables works on nf_tables: "
            "choose the firewall nftables, or ipset"
        )
    if kind == "none":
        return "backend iptables: this host has no iptables: choose the firewall nftables"
    if importlib.util.find_spec("iptc") is None:
        return f"backend iptables needs python-iptables: {pip_install('iptables')}; or choose the firewall ipset"
    return ""


def ipset_refusal() -> str:
    """Say why rules that name ipsets would harm this host, and what to choose; empty when they would not.

    Where the rule set is saved and restored at boot, sipguard's rules are saved with it, and iptables-restore refuses a rule
    set as a whole that names a set which does not exist: the host would come up without any firewall.
    """
    saver = next((name for path, name in SAVERS.items() if Path(path).exists()), None)
    if saver is None:
        return ""
    return (
        f"backend ipset: {saver} saves this host's iptables rules and restores them at boot, when sipguard's sets do not exist: "
        "all rules would be refused, the host's own too; choose the firewall nftables"
    )


def saved_sets() -> str:
    """Name a saved rule set that cannot be restored, since it names sets of sipguard's; empty when there is none."""
    for path in SAVERS:
        try:
            if SETS in Path(path).read_text(errors="replace"):
                return path
        except OSError:  # not there, not for us to read, or a folder
            continue
    return ""


def nft_refusal() -> str:
    """Say why the nftables backend cannot work here; empty when it can."""
    if not programs.installed("nft"):
        return "there is no program nft"
    try:
        programs.run(["nft", "list", "tables"], package="nftables")
    except FirewallError as error:
        return str(error)
    return ""


def choose() -> tuple[str, str]:
    """Give the backend that fits what the host uses, and why. Raises `FirewallError` when there is none."""
    kind = iptables_kind()
    tables = legacy_tables()
    ipset = all(programs.installed(name) for name in ("ipset", "iptables")) and not ipset_refusal()
    no_nft = nft_refusal()
    if kind == "legacy" and tables and (found := _beside_legacy(tables, ipset=ipset, nft=not no_nft)):
        return found
    if not no_nft:
        unused = (
            "; whether it uses legacy tables too, root alone may see"
            if tables is None
            else "; legacy tables are not used"
        )
        with_iptables = {"nf_tables": ", as for its iptables", "legacy": unused}.get(kind, "")
        return "nftables", f"this host has nf_tables{with_iptables}"
    if ipset:
        return "ipset", f"{no_nft}; ipset and iptables are there"
    if not (refusal := legacy_refusal()):
        return "iptables", f"{no_nft}, and {'rules are saved' if ipset_refusal() else 'there is no ipset'}"
    saved = f"; {why}" if (why := ipset_refusal()) else ""
    raise FirewallError(f"no firewall can be used: {no_nft}; {refusal}{saved}: install the package nftables")


def _beside_legacy(tables: list[str], *, ipset: bool, nft: bool) -> tuple[str, str] | None:
    """Choose for a host whose firewall is in legacy tables; None when nothing is there that suits it."""
    used = f"this host's firewall is iptables-legacy (tables {', '.join(sorted(tables))})"
    if nft and not may_open_raw_sockets():
        return "nftables", f"{used}, which takes root to change; nf_tables works beside it"
    if nft and ipset_refusal():
        return "nftables", f"{used}, and its rules are saved; nf_tables works beside it"
    if ipset:
        return "ipset", f"{used} and ipset is there"
    if not legacy_refusal():
        return "iptables", f"{used} and {'its rules are saved' if ipset_refusal() else 'there is no ipset'}"
    if nft:
        return "nftables", f"{used}, but neither ipset nor python-iptables is there; nf_tables works beside it"
    return None
