"""What `sipguard enable` writes for Asterisk, on a real Asterisk 22: the user is told of security, and may do nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lab.chroot import LabUnavailableError, install
from needs import needs

PROJECT = Path(__file__).parents[2]
SUITE = "sid"
SCRIPT = """
    mkdir upper work root
    mount -t overlay overlay -o lowerdir={chroot},upperdir=upper,workdir=work root
    mount -t proc proc root/proc; mount --bind /dev root/dev; ip link set lo up
    {before}
    chroot root asterisk -U asterisk -f >/dev/null 2>&1 &
    booted='core waitfullybooted'
    for i in $(seq 150); do chroot root asterisk -rx "$booted" >/dev/null 2>&1 && break; sleep 0.3; done
    {python} -m sipguard enable asterisk --root root --yes
    chroot root asterisk -rx 'manager reload'
    bound='TCP Bindaddress: *127'
    for i in $(seq 50); do chroot root asterisk -rx 'manager show settings' | grep -q "$bound" && break; sleep 0.2; done
    chroot root asterisk -rx 'manager show settings'
    chroot root asterisk -rx 'logger reload'
    chroot root asterisk -rx 'manager show user sipguard'
    {python} - root/etc/sipguard/manager-password <<'PYTHON'
import pathlib, socket, sys
secret = pathlib.Path(sys.argv[1]).read_text().strip()
sock = socket.create_connection(("127.0.0.1", 5038), timeout=20)
said = b""
def until(text):
    global said
    while text not in said:
        said += sock.recv(4096)
sock.sendall(f"Action: Login\\r\\nUsername: sipguard\\r\\nSecret: {{secret}}\\r\\nEvents: security\\r\\n\\r\\n".encode())
until(b"Event: SuccessfulAuth")
sock.sendall(b"Action: Command\\r\\nCommand: core show version\\r\\n\\r\\n")
until(b"Message: Permission denied")
print(said.decode())
PYTHON
    kill $!; wait $! || true
"""


@pytest.fixture
@needs("root", "lab")
def chroot():
    """The lab's Asterisk, installed once."""
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap")
    cache = Path(os.environ.get("SIPGUARD_LAB_CACHE", "/var/cache/sipguard-lab"))
    try:
        install(SUITE, cache)
    except LabUnavailableError as reason:
        pytest.skip(str(reason))
    return cache / SUITE


@pytest.mark.parametrize("state", ["on", "off"])
def test_the_manager_user(chroot, tmp_path, state):
    """Also where the manager interface was off: a reload switches it on, for this machine alone."""
    samples = PROJECT / "fixtures/machines/asterisk-samples/etc/asterisk/manager.conf"
    before = f"cat {samples} > root/etc/asterisk/manager.conf" if state == "off" else ""
    alone = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    done = subprocess.run(
        [*alone, "sh", "-e", "-c", SCRIPT.format(chroot=chroot, python=sys.executable, before=before)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    said = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TCP Bindaddress: 127.0.0.1:5038" in said
    assert "read perm: security write perm: <none>" in said
    assert "0: deny - 0.0.0.0/0.0.0.0 1: allow - 127.0.0.1/255.255.255.255" in said
    assert "Message: Authentication accepted" in said
    assert "Event: SuccessfulAuth" in said
    assert "Message: Permission denied" in said
