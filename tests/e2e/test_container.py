"""The container of packaging/Containerfile: built, and run with the two rights that the documentation gives it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from lab.debian import cached
from lab.lab import LabUnavailableError
from needs import needs
from test_deb import FAILURE

PROJECT = Path(__file__).parents[2]
BASE = "docker.io/library/debian:12-slim"
CERTIFICATES = "/etc/ssl/certs"
RUN = f"""
    ip link set lo up
    buildah run --network host --cap-add CAP_NET_ADMIN --cap-add CAP_DAC_READ_SEARCH \
        -v {{host}}/etc:/etc/sipguard -v {{host}}/lib:/var/lib/sipguard -v {{host}}/log:/var/log:ro {{container}} -- \
        sh -c 'grep CapEff /proc/self/status; exec sipguard run' > {{host}}/out 2>&1 &
    for i in $(seq 450); do grep -q 'Jails started' {{host}}/out && break; sleep 0.1; done
    for i in 1 2 3 4 5; do echo "{FAILURE}" >> {{host}}/log/freeswitch/freeswitch.log; done
    for i in $(seq 450); do nft list ruleset | grep -q 203.0.113.66 && break; sleep 0.1; done
    buildah run --network host {{container}} -- sipguard status
    kill $(pidof -x sipguard) || true
    wait
    cat {{host}}/out
    nft list table inet sipguard
"""
"""As podman runs it, in a network of its own; the second call is that of `podman exec sipguard sipguard status`."""


@pytest.fixture
@needs("root", "lab")
def buildah(tmp_path):
    """The environment for buildah(1), which keeps all in a folder of the test's own."""
    if shutil.which("buildah") is None:
        pytest.skip("needs the program buildah: Debian's package buildah brings it")
    storage = tmp_path / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/images"\nrunroot = "{tmp_path}/run"\n')
    yield os.environ | {"CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_ISOLATION": "chroot"}
    shutil.rmtree(tmp_path / "images")  # gigabytes


def _run(line, env, **options):
    done = subprocess.run(line, env=env, capture_output=True, text=True, check=False, timeout=600, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _base(env, folder):
    """Debian's image, out of the lab's Debian: no registry is asked."""
    try:
        root = cached()
    except LabUnavailableError as reason:
        pytest.skip(str(reason))
    subprocess.run(
        ["tar", "-C", root, "--exclude=./proc/*", "--exclude=./dev/*", "-cf", folder / "base.tar", "."], check=True
    )
    container = _run(["buildah", "from", "scratch"], env).strip()
    _run(["buildah", "add", container, folder / "base.tar", "/"], env)
    _run(["buildah", "commit", "--rm", container, BASE], env)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_ban_out_of_a_container(buildah, tmp_path):
    """NET_ADMIN and DAC_READ_SEARCH are enough, logs are read where they are read-only, and bans outlive the container."""
    _base(buildah, tmp_path)
    trust = ["-v", f"{CERTIFICATES}:{CERTIFICATES}:ro", "--env", f"PIP_CERT={CERTIFICATES}/ca-certificates.crt"]
    build = ["buildah", "bud", "--pull-never", "--layers=false", "--network", "host", *trust, "-t", "sipguard"]
    _run([*build, "-f", "packaging/Containerfile", "."], buildah, cwd=PROJECT)
    container = _run(["buildah", "from", "--pull-never", "localhost/sipguard"], buildah).strip()
    shown = ["buildah", "inspect", "--format", "{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}}", container]
    assert _run(shown, buildah).strip() == "[sipguard] [run]"
    host = tmp_path / "host"
    for folder in ("etc/jails.d", "lib", "log/freeswitch"):
        (host / folder).mkdir(parents=True)
    (host / "etc/jails.d/freeswitch.toml").write_text("enabled = true\n")
    (host / "log/freeswitch/freeswitch.log").touch(mode=0o600)
    alone = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
    said = _run([*alone, RUN.format(host=host, container=container)], buildah)
    assert "PROTECTED: 1 jail at work" in said
    assert "[freeswitch] Ban 203.0.113.66" in said
    assert int(said.partition("CapEff:")[2].split()[0], 16) & (1 << 12 | 1 << 2) == 1 << 12 | 1 << 2
    assert "203.0.113.66 counter" in said.partition("table inet sipguard")[2]
