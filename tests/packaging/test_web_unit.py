"""The unit of the page as systemd sees it, and the proxies' examples as the proxies do."""

import contextlib
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import pytest
from ports import free_port
from running import PATIENCE, ROOT

from tests.packaging.units import analyze, exposure, with_a_program
from tests.web.page_process import NOBODY, showing

UNIT = ROOT / "packaging/systemd/sipguard-web.service"
EXAMPLES = ROOT / "packaging/web"
MOST_EXPOSED = 1.5


@pytest.fixture
def unit(tmp_path):
    """The unit, with a program that is there."""
    return with_a_program(UNIT, tmp_path)


def test_verify_is_silent(unit):
    """No key is unknown, no value wrong."""
    assert analyze("verify", unit) == (0, "")


def test_exposure(unit):
    """No capability, and next to nothing of the machine."""
    assert exposure(unit) <= MOST_EXPOSED


def test_it_has_no_right():
    """Neither of its own nor in the daemon's files."""
    text = UNIT.read_text()
    assert "\nCapabilityBoundingSet=\nAmbientCapabilities=\n" in text
    assert "\nUser=sipguard-web\n" in text
    assert re.search(r"\nInaccessiblePaths=.*/etc/sipguard.*/var/lib/sipguard ", text)


@pytest.fixture
def folder():
    """Others may pass through: the page is another user."""
    with tempfile.TemporaryDirectory(prefix="sipguard-web-") as path:
        Path(path).chmod(0o777)
        yield Path(path)


@contextlib.contextmanager
def _run(folder, *command, **environment):
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **{name: str(value) for name, value in environment.items()}},
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.kill()  # Caddy waits for streams that are open
            process.wait(PATIENCE)


def _nginx(folder, socket, port):
    """The example, on a port of ours, with a certificate and a user."""
    for arguments in (
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=guard.example.org"],
    ):
        keys = ["-keyout", folder / "key", "-out", folder / "pem"]
        subprocess.run(["openssl", *arguments, *keys], check=True, capture_output=True)
    hashed = subprocess.run(["openssl", "passwd", "-apr1", "secret"], check=True, capture_output=True, text=True)
    (folder / "users").write_text(f"alice:{hashed.stdout}")
    text = (EXAMPLES / "nginx.conf").read_text()
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/certs/guard.example.org.pem", folder / "pem"),
        ("/etc/ssl/private/guard.example.org.key", folder / "key"),
        ("/etc/nginx/sipguard.users", folder / "users"),
        ("/run/sipguard-web/page.sock", socket),
    ):
        assert old in text.partition("server {")[2]
        text = text.replace(old, str(new))
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = f"daemon off; master_process off; user nobody nogroup; pid {folder}/pid; error_log stderr; events {{}}\n"
    (folder / "nginx.conf").write_text(f"{head}http {{ access_log off; {temporary}\n{text}}}\n")
    return _run(folder, "nginx", "-e", "stderr", "-c", folder / "nginx.conf")


def _caddy(folder, socket, port):
    """The example, on a port of ours, with Caddy's own certificate and a user."""
    hashed = subprocess.run(
        ["caddy", "hash-password", "--plaintext", "secret"], check=True, capture_output=True, text=True
    ).stdout.strip()
    text = (EXAMPLES / "Caddyfile").read_text()
    text = re.sub(r"\$2a\$14\$\.+", lambda _: hashed, text)
    text = text.replace("\nguard.example.org {", f"\nguard.example.org:{port} {{\n\ttls internal")
    text = text.replace("/run/sipguard-web/page.sock", str(socket))
    options = "{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + text)
    place = {"XDG_DATA_HOME": folder / "data", "XDG_CONFIG_HOME": folder / "config", "HOME": folder}
    return _run(folder, "caddy", "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile", **place)


@pytest.mark.root
@pytest.mark.parametrize("proxy", [_nginx, _caddy], ids=["nginx", "caddy"])
def test_the_page_behind_a_proxy(folder, proxy):
    """With the example as it stands: the proxy's users are in, by no other name; live updates come through."""
    name = proxy.__name__.strip("_")
    if shutil.which(name) is None:
        pytest.skip(f"needs the program {name}")
    socket, port = folder / "page.sock", free_port()
    options = ("--host", "guard.example.org", "--user-header", "X-Remote-User", "--socket", folder / "no.sock")
    with showing(folder / "web", *options, listen=socket), proxy(folder, socket, port) as process:
        assert socket.stat().st_uid == NOBODY
        url = f"https://guard.example.org:{port}"
        client = _client(port)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                answer = client.get(f"{url}/")
                break
            except httpx.TransportError:
                assert process.poll() is None, (folder / "said").read_text()
                assert time.monotonic() < end
                time.sleep(0.1)
        assert answer.status_code == 401
        assert client.get(f"{url}/", headers={"X-Remote-User": "alice"}).status_code == 401
        alice = ("alice", "secret")
        answer = client.get(f"{url}/", auth=alice, headers={"X-Remote-User": "root", "Host": "guard.example.org"})
        assert answer.status_code == 200
        assert "logged in as alice" in answer.text
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-sipguard=")
        assert "; Secure" in cookie
        headers = {"Host": "guard.example.org"}
        with client.stream("GET", f"{url}/api/events", auth=alice, headers=headers) as stream:
            lines = stream.iter_lines()
            assert "event: view" in (next(lines) for _ in range(10))
        client.close()


def _client(port):
    """One that finds guard.example.org here, and takes any certificate."""

    class Here(httpx.HTTPTransport):
        def handle_request(self, request):
            request.extensions["sni_hostname"] = "guard.example.org"
            request.url = request.url.copy_with(host="127.0.0.1", port=port)
            return super().handle_request(request)

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return httpx.Client(transport=Here(verify=context), timeout=30)
