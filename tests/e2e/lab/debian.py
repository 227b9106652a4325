"""A Debian that is thrown away: over a cached one, with an empty network, as a chroot or with systemd as its first process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

import unpacked

from lab.chroot import LabUnavailableError, install

KNOWN = ("bookworm", "trixie")


def _own_suite() -> str:
    """Debian's name for what runs here, if it is one that is known; else no name."""
    with contextlib.suppress(OSError):
        name = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
        return name if name in KNOWN else ""
    return ""


HERE = _own_suite()
SUITE = HERE or KNOWN[0]
"""Packages are built for the Debian that they are built on."""
_PACKAGES = "python3,nftables,adduser,ca-certificates,systemd"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEVICES = "null zero full random urandom tty"


def cached(suite: str = SUITE, *, bare: bool = False) -> Path:
    """The Debian that others are made over, installed once; `bare` has nothing but apt. Raises `LabUnavailableError`."""
    cache = unpacked.CACHE
    name = f"{suite}-bare" if bare else suite
    if bare:
        install(suite, cache, packages="passwd", proof="usr/bin/apt-get", name=name)
    else:
        install(suite, cache, packages=_PACKAGES, proof="usr/bin/systemd-analyze")
    return cache / name


def _done_once(suite: str, script: str) -> Path:
    """What a script that is run online changes in the bare Debian, kept in the cache. Raises `LabUnavailableError`."""
    cached(suite, bare=True)

    def make(folder: Path) -> None:
        one = Debian(folder, suite, bare=True)
        try:
            one.go_online()
            one.run(script, online=True, timeout=600)
            one.run("rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb")
        finally:
            one.end()

    name = f"{suite}-after-{hashlib.sha256(script.encode()).hexdigest()[:16]}"
    return unpacked.cached(name, make) / "upper"


_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def _proxied():
    """The environment for pip and apt, also behind a proxy of this machine's."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    # Most of what pip installs is not imported here.
    return [
        "PIP_CERT=/srv/certificates.pem",
        "PIP_NO_COMPILE=1",
        *(f"{name}={os.environ[name]}" for name in names if name in os.environ),
    ]


class Debian:
    """A chroot: what is written to it goes away with it. Its network is empty."""

    def __init__(self, folder: Path, suite: str = SUITE, *, bare: bool = False, after: str = "") -> None:
        """`after`: a script that was run in it, online, when it was first asked for."""
        self.root = folder / "root"
        for name in ("root", "upper", "work"):
            (folder / name).mkdir()
        below = ":".join(map(str, [*([_done_once(suite, after)] if after else []), cached(suite, bare=bare)]))
        layers = f"lowerdir={below},upperdir={folder}/upper,workdir={folder}/work"
        script = (
            f"mount -t overlay overlay -o {layers} {self.root} && mount -t proc proc {self.root}/proc"
            f" && mount --bind /dev {self.root}/dev && ip link set lo up && echo ready && exec sleep infinity"
        )
        line = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", script]
        self._holder = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout.readline() == "ready\n"

    def run(self, script, *, status=0, online=False, timeout=300):
        """Run a shell script in it; gives all that it prints. `online`: with this machine's network instead of its own."""
        enter = [word for word in self._enter() if not (online and word == "--net")]
        env = ["env", "-i", _PATH, "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", *(_proxied() if online else ())]
        done = subprocess.run(
            [*enter, *env, "sh", "-e"], input=script, capture_output=True, text=True, check=False, timeout=timeout
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def until(self, script, seconds=60):
        """Run it again and again until it succeeds."""
        line = f"for i in $(seq {seconds * 5}); do if {script}; then exit 0; fi; sleep 0.2; done; exit 1"
        self.run(line, timeout=10 * seconds)  # on a busy machine the script itself takes its time

    def take(self, *files):
        """Copy files into its /srv."""
        for file in files:
            shutil.copy(file, self._seen_from_here() / "srv" / file.name)

    def go_online(self):
        """Give it what `online` needs: where names are looked up, and the certificates that this machine trusts."""
        seen = self._seen_from_here()
        (seen / "etc/resolv.conf").unlink(missing_ok=True)
        shutil.copy("/etc/resolv.conf", seen / "etc/resolv.conf")
        (seen / "srv/certificates.pem").write_bytes(_CERTIFICATES.read_bytes())

    def outside(self, *command):
        """The line that runs a program of this machine where this Debian's folder and network are seen."""
        return ["nsenter", "-t", str(self._holder.pid), "--mount", "--net", *command]

    def end(self):
        """Everything goes: the mounts with the namespace, the processes in it with their network."""
        self._holder.kill()
        self._holder.communicate()

    def _enter(self):
        return ["nsenter", "-t", str(self._holder.pid), "--mount", "--net", "chroot", str(self.root)]

    def _seen_from_here(self):
        # By way of the process in the namespace: the mount is seen from there alone.
        return Path(f"/proc/{self._holder.pid}/root{self.root}")


class Machine(Debian):
    """With systemd as its first process, which knows these processes, this network and this part of the cgroups alone.

    Raises `LabUnavailableError` where that cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        for name in ("root", "upper", "work"):
            (folder / name).mkdir()
        self._cgroup = _own_cgroup()
        script = folder / "boot.sh"
        script.write_text(self._boot(folder))
        join = f"echo $$ > {self._cgroup}/cgroup.procs && exec"
        alone = "unshare --pid --mount --net --cgroup --uts --ipc --fork --kill-child --propagation private"
        with (folder / "console").open("wb") as console:
            self._holder = subprocess.Popen(
                ["sh", "-c", f"{join} {alone} sh -e {script}"], stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        try:
            self._await(folder / "console")
        except BaseException:
            self.end()
            raise

    def end(self):
        """Its first process is killed, and so all others; its part of the cgroups is removed."""
        self._holder.kill()  # the first process dies with this one, by `--kill-child`
        self._holder.communicate()
        end = time.monotonic() + 20
        while self._cgroup.exists() and time.monotonic() < end:
            for folder in (*sorted(self._cgroup.rglob("*/"), reverse=True), self._cgroup):
                if folder.is_dir():
                    with contextlib.suppress(OSError):  # a process in it is still dying
                        folder.rmdir()
            time.sleep(0.1)

    def _boot(self, folder: Path) -> str:
        root = self.root
        devices = "".join(
            f"touch {root}/dev/{name}; mount --bind /dev/{name} {root}/dev/{name}\n" for name in _DEVICES.split()
        )
        return (
            f"mount -t overlay overlay -o lowerdir={cached()},upperdir={folder}/upper,workdir={folder}/work {root}\n"
            f"mount -t proc proc {root}/proc\nmount -t sysfs -o ro sysfs {root}/sys\n"
            f"mount -t cgroup2 cgroup2 {root}/sys/fs/cgroup\nmount -t tmpfs -o mode=755 tmpfs {root}/run\n"
            f"mount -t tmpfs tmpfs {root}/tmp\nmount -t tmpfs -o mode=755 tmpfs {root}/dev\n{devices}"
            f"mkdir {root}/dev/pts {root}/dev/shm\nln -s pts/ptmx {root}/dev/ptmx\nln -s /proc/self/fd {root}/dev/fd\n"
            f"mount -t devpts -o newinstance,ptmxmode=0666 devpts {root}/dev/pts\n"
            f"ip link set lo up\ncd {root}\nmkdir -p old\npivot_root . old\n"
            "exec chroot . sh -c 'umount -l /old && exec env -i container=sipguard-test "
            f"{_PATH} /lib/systemd/systemd --log-target=console --unit=multi-user.target'\n"
        )

    def _await(self, console: Path) -> None:
        """Until systemd has come up."""
        end = time.monotonic() + 180
        while True:
            with contextlib.suppress(AssertionError, StopIteration):
                self.run("systemctl is-active --quiet multi-user.target && test -d /run/systemd/system")
                return
            if self._holder.poll() is not None or time.monotonic() > end:
                said = console.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                raise LabUnavailableError(f"systemd does not start in namespaces here: {said[-1]}")
            time.sleep(0.2)

    def _first(self) -> int:
        """The first process, as it is called outside."""
        every = Path("/proc").glob("[0-9]*")
        return next(int(process.name) for process in every if _parent(process) == self._holder.pid)

    def _enter(self):
        spaces = ["--mount", "--pid", "--net", "--cgroup", "--uts", "--ipc", "--root", "--wd"]
        return ["nsenter", "-t", str(self._first()), *spaces]

    def _seen_from_here(self):
        return Path(f"/proc/{self._first()}/root")


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _own_cgroup() -> Path:
    """A cgroup below that of this process, empty. Raises `LabUnavailableError`."""
    mounted = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    top = next((Path(words[1]) for words in mounted if words[2] == "cgroup2"), None)
    if top is None:
        raise LabUnavailableError("no cgroup2 is mounted here, which systemd needs")
    own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    made = top / own.lstrip("/") / f"sipguard-test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        made.mkdir()
    except OSError as error:
        raise LabUnavailableError(f"no cgroup can be made here: {error}") from None
    return made
