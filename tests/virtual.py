"""A Debian kernel in a virtual machine, for tests of what the kernel of this machine lacks.

    @on_kernel_with("vlan")
    def test_vlan(tmp_path):
        ...

Where the kernel has it, the test runs as any other. Elsewhere it runs by itself in a virtual machine that sees the files of
this machine, changes none of them, and has no network but its own. The kernel is Debian's, fetched once (70 MB) and kept in
the cache. Where it cannot be had the test is skipped, and says why. QEMU computes every instruction (no KVM): there are
machines on which /dev/kvm can be opened and no kernel begins. The clock of the virtual machine goes by those instructions
(`-icount`), so that a busy machine makes the test longer, but nothing in it late.
"""

from __future__ import annotations

import functools
import lzma
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import pytest
from needs import must_be_marked
from unpacked import cached, download

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

FEATURES = {
    "vlan": "ip link add cable0 type veth peer cable1 && ip link add link cable0 vlan7 type vlan id 7",
    "flowtable": "ip link add cable0 type veth peer cable1 && nft 'table inet t { flowtable f { hook ingress priority 0;"
    " devices = { cable0 }; }; chain c { type filter hook forward priority 0; meta l4proto udp flow add @f; }; }'",
}
"""What a kernel can have → shell, in a network namespace of its own, that works where it has it."""

TIMEOUT = 600
"""Seconds that one test may take in a virtual machine: a minute, where the processor is free."""
_QEMU = "qemu-system-x86_64"
_INSIDE = "SIPGUARD_TEST_INSIDE"
_PROJECT = Path(__file__).parents[1]
_AT_BOOT = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
"""Modules that are loaded before there are files."""
_LEFT_OUT = (
    "usr/share",
    "*/kernel/sound",
    "*/kernel/drivers/[!nv]*",
    "*/kernel/drivers/net/*/*",
    "*/kernel/drivers/video",
)
"""Drivers of devices that no virtual machine has: most of a kernel's package."""

_INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs dev /dev
while read module; do $b insmod /modules/$module; done < /modules/order
shared() { $b mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,$3 $1 $2; }
shared files /files ro,cache=loose
$b mount -t tmpfs -o size=75% tmpfs /changes; $b mkdir /changes/upper /changes/work
$b mount -t overlay -o lowerdir=/files,upperdir=/changes/upper,workdir=/changes/work overlay /root
for part in proc sys dev run virtual usr/lib/modules; do $b mkdir -p /root/$part; done
for part in proc sys dev; do $b mount --move /$part /root/$part; done
for part in run virtual; do $b mount -t tmpfs tmpfs /root/$part; done
$b mkdir /root/dev/pts /root/dev/shm /root/virtual/job /root/virtual/tmp
$b mount -t devpts devpts /root/dev/pts; $b mount -t tmpfs tmpfs /root/dev/shm
shared job /root/virtual/job cache=none
shared modules /root/usr/lib/modules ro,cache=loose
# A program of the kernel's own calling is called by its path, and Busybox by its name.
$b cp $b /root/run/modprobe; echo /run/modprobe > /root/proc/sys/kernel/modprobe
exec $b switch_root /root /bin/sh /virtual/job/first
"""

_FIRST = """
ip link set lo up
sh /virtual/job/command > /virtual/job/output 2>&1 < /dev/null
echo $? > /virtual/job/status
echo b > /proc/sysrq-trigger
sleep 60
"""
"""The first process: without one the kernel stops. QEMU ends where the machine would begin anew."""


def on_kernel_with(feature: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Run the test here if this kernel has it (`FEATURES`), else in a virtual machine."""

    def set_on(function: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(function)
        def test(*args: P.args, **kwargs: P.kwargs) -> None:
            must_be_marked("root")
            if _has(feature):
                function(*args, **kwargs)
            elif _INSIDE in os.environ:
                pytest.fail(f"neither kernel has it: {feature}")
            else:
                _run_inside(feature)

        return pytest.mark.timeout(TIMEOUT + 100)(test)  # type: ignore[no-any-return]

    return set_on


def _has(feature: str) -> bool:
    probe = ["unshare", "--net", "sh", "-c", FEATURES[feature]]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _run_inside(feature: str) -> None:
    """Run the test that runs now in a virtual machine; what it printed is printed here."""
    # pytest-xdist adds the group behind an @.
    node = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0].partition("@")[0]
    line = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", node]
    begun = time.monotonic()
    job = run(line, why=f"the kernel of this machine has it not: {feature}")
    print(f"in a virtual machine, {time.monotonic() - begun:.0f} s:\n{job.stdout}")
    if job.returncode != 0 or "1 passed" not in job.stdout:
        pytest.fail("it failed in the virtual machine", pytrace=False)


def run(command: list[str], *, why: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a virtual machine, in the project's folder; gives its status and all that it printed.

    Skips the test, with the reason, where there can be no virtual machine. `why`: one is needed.
    """
    if lacking := _lacking():
        pytest.skip(f"{why}; a virtual machine would: {lacking}")
    kernel = cached("kernel", _make_kernel)
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder)
        kept = {
            "PATH": os.environ["PATH"],
            "HOME": "/root",
            "TMPDIR": "/virtual/tmp",
            "LC_ALL": "C.UTF-8",
            _INSIDE: "1",
        }
        line = shlex.join(["env", "-i", *(f"{name}={value}" for name, value in kept.items()), *command])
        (job / "first").write_text(_FIRST)
        (job / "command").write_text(f"cd {shlex.quote(str(_PROJECT))} && exec {line}\n")
        with (job / "console").open("wb") as console:
            try:
                subprocess.run(
                    _machine(kernel, job),
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                    timeout=TIMEOUT,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                pytest.fail(f"not done after {TIMEOUT} s: {_read(job / 'output')}\n{_read(job / 'console')}")
        if not (job / "status").exists():
            pytest.fail(f"the virtual machine stopped: {_read(job / 'output')}\n{_read(job / 'console')}")
        return subprocess.CompletedProcess(command, int(_read(job / "status")), _read(job / "output"))


def _read(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""


def _lacking() -> str:
    """Why there can be no virtual machine; empty where there can."""
    if platform.machine() != "x86_64":
        return f"known for x86_64, not for {platform.machine()}"
    if shutil.which(_QEMU) is None:
        return f"there is no {_QEMU}: Debian's package qemu-system-x86 brings it"
    return ""


def _machine(kernel: Path, job: Path) -> list[str]:
    shared = (("files", Path("/"), "on"), ("modules", kernel / "lib/modules", "on"), ("job", job, "off"))
    folders = [
        f"local,id={name},mount_tag={name},path={path},security_model=none,multidevs=remap,readonly={fixed}"
        for name, path, fixed in shared
    ]
    return [
        _QEMU, "-accel", "tcg", "-icount", "shift=0", "-cpu", "max", "-m", "1024", "-nodefaults", "-no-user-config",
        "-display", "none", "-serial", "stdio", "-no-reboot",
        "-kernel", str(kernel / "vmlinuz"), "-initrd", str(kernel / "initramfs"),
        "-append", "console=ttyS0 panic=-1 quiet mitigations=off no5lvl apparmor=0 rdinit=/init",
        *(word for folder in folders for word in ("-virtfs", folder)),
    ]  # fmt: skip


def _make_kernel(folder: Path) -> None:
    """Debian's kernel, its modules, and the files that it begins with."""
    asked = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=False)
    named = re.search(r"Depends: (linux-image-\S+)", asked.stdout)
    if named is None:
        pytest.skip(f"apt knows no package linux-image-amd64: {asked.stderr.strip()}")
    # As Debian 12 and 13 have them; the packages of 12 know /lib and /bin alone.
    for part in ("lib", "bin"):
        (folder / "usr" / part).mkdir(parents=True)
        (folder / part).symlink_to(f"usr/{part}")
    for deb in download(folder / "debs", named[1], "busybox-static"):
        options = shlex.join(["--keep-directory-symlink", *(f"--exclude={part}" for part in _LEFT_OUT)])
        unpack = f"dpkg-deb --fsys-tarfile {shlex.quote(str(deb))} | tar -x -C {shlex.quote(str(folder))} {options}"
        subprocess.run(["sh", "-c", unpack], check=True)
    shutil.rmtree(folder / "debs")
    next((folder / "boot").glob("vmlinuz-*")).rename(folder / "vmlinuz")
    (modules,) = (folder / "lib/modules").iterdir()
    for packed in modules.rglob("*.ko.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    busybox = folder / "bin/busybox"
    subprocess.run([busybox, "depmod", "-b", folder, modules.name], check=True)
    _make_first_files(folder / "first", busybox, modules)
    pack = f"cd {folder}/first && find . | {busybox} cpio -o -H newc | gzip -1 > ../initramfs"
    subprocess.run(["sh", "-c", pack], check=True, capture_output=True)


def _make_first_files(folder: Path, busybox: Path, modules: Path) -> None:
    """What the kernel has before it sees the files of this machine: `_INIT`, Busybox, and the modules that takes."""
    for part in ("proc", "sys", "dev", "bin", "modules", "files", "changes", "root"):
        (folder / part).mkdir(parents=True)
    shutil.copy(busybox, folder / "bin")
    (folder / "init").write_text(_INIT)
    (folder / "init").chmod(0o755)
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        file, _, others = line.partition(":")
        needs[Path(file).stem] = [file, *others.split()]
    # What a module needs is listed from the nearest to the farthest; what is not listed is in the kernel.
    files = dict.fromkeys(file for name in _AT_BOOT for file in reversed(needs.get(name, [])))
    for file in files:
        shutil.copy(modules / file, folder / "modules")
    (folder / "modules/order").write_text("".join(f"{Path(file).name}\n" for file in files))
