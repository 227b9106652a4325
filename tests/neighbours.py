"""Other programs that change firewalls, as Debian packages them, on a host that is a network namespace.

with namespace("nft") as net:
    host = Host(net, tmp_path, "ufw")
    host.run("ufw --force enable")

Nothing is installed: the packages are fetched once, unpacked into the cache, and laid over /usr, /etc, /var and /run for each
command alone (`ip netns exec` gives it mounts of its own). What they write stays in the test's folder.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from unpacked import cached, download

if TYPE_CHECKING:
    from pathlib import Path

    from tests.netns import Namespace

PACKAGES = (
    "ufw",
    "firewalld",
    "python3-firewall",
    "python3-nftables",
    "python3-cap-ng",
    "netfilter-persistent",
    "iptables-persistent",
    "ipset-persistent",
    "crowdsec-firewall-bouncer",
)
LAYOUT = "neighbours-by-package"
"""Name of the cache: another layout of its files needs another name."""
_LEGACY = "mount --bind /usr/sbin/xtables-legacy-multi /usr/sbin/xtables-nft-multi; "


def packages() -> Path:
    """A folder for each package with its files, in the cache; skips the test where they cannot be had."""
    return cached(LAYOUT, _unpack)


def _unpack(tree: Path) -> None:
    for deb in download(tree / "debs", *PACKAGES):
        one = tree / deb.name.partition("_")[0]
        subprocess.run(["dpkg-deb", "-x", deb, one], check=True)
        # Debian's /lib, /sbin and /bin are those of /usr.
        for part in ("lib", "sbin", "bin"):
            if (one / part).is_dir():
                shutil.copytree(one / part, one / "usr" / part, dirs_exist_ok=True)
                shutil.rmtree(one / part)
        for choice in one.glob("usr/share/polkit-1/actions/*.server.policy.choice"):
            # As firewalld's postinst does: what root may do on a server.
            shutil.copy(choice, str(choice).replace(".server.policy.choice", ".policy"))


class Host:
    """One host: a network namespace, and a folder for what its programs write. `legacy`: which iptables it has."""

    def __init__(self, net: Namespace, folder: Path, *installed: str, legacy: bool = False) -> None:
        """`installed` are the packages that it has; what each needs of /etc is copied, as on an installation."""
        self.net = net
        self.folder = folder
        self._legacy = legacy
        trees = [packages() / name for name in installed]
        usr = ":".join(str(tree / "usr") for tree in trees if (tree / "usr").is_dir())
        # Debian 13's mount hands options over one by one, each of 255 bytes at most, unless it is told not to.
        old = "LIBMOUNT_FORCE_MOUNT2=always"
        self._lines = [f"{old} mount -t overlay overlay -o lowerdir={usr}:/usr /usr"] if usr else []
        for part in ("etc", "var"):
            for layer in ("work", "upper"):
                (folder / part / layer).mkdir(parents=True)
            for tree in trees:
                if (tree / part).is_dir():
                    shutil.copytree(tree / part, folder / part / "upper", symlinks=True, dirs_exist_ok=True)
            layers = f"lowerdir=/{part},upperdir={folder}/{part}/upper,workdir={folder}/{part}/work"
            self._lines.append(f"{old} mount -t overlay overlay -o {layers} /{part}")
        (folder / "run").mkdir()
        self._lines.append(f"mount --bind {folder}/run /run")
        (folder / "etc/upper/iptables").mkdir(exist_ok=True)

    @property
    def prefix(self) -> list[str]:
        """What a program of this host is started under."""
        mounts = " && ".join(self._lines)
        legacy = _LEGACY if self._legacy else ""
        return ["ip", "netns", "exec", self.net.name, "sh", "-c", f'{mounts} && {legacy}exec "$@"', "sh"]

    def try_(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command as this host's administrator would."""
        full = [*self.prefix, "sh", "-c", command]
        return subprocess.run(full, capture_output=True, text=True, check=False, timeout=150)

    def run(self, command: str) -> str:
        """The same; gives what it prints, and fails when it fails."""
        done = self.try_(command)
        assert done.returncode == 0, f"{command}: {done.returncode} {done.stdout} {done.stderr}"
        return done.stdout

    def boot(self, net: Namespace) -> None:
        """The same files on another kernel: nothing of the firewall is left but what was written down."""
        self.net = net
