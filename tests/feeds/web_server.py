"""Servers for tests of feeds: real HTTPS on loopback under a certificate of a CA that the test makes."""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

BATCH = 250
DRIP = 0.02


def make_certificates(folder):
    """A CA, and a certificate for 127.0.0.1 and localhost; gives (CA file, certificate with key)."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl to make a test CA")
    ca, ca_key, request, pem = (folder / name for name in ("ca.pem", "ca.key", "server.csr", "server.pem"))
    key, extensions = folder / "server.key", folder / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in (
        ["req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", "/CN=test CA",
         "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
        ["req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=127.0.0.1"],
        ["x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2", "-out", pem,
         "-extfile", extensions],
    ):  # fmt: skip
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
    pem.write_bytes(pem.read_bytes() + key.read_bytes())
    return ca, pem


class Server:
    """HTTPS on 127.0.0.1; every request goes to `answer(handler)`. `requests` are (time, path) in order of arrival."""

    def __init__(self, pem):
        outer = self
        self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                self.connection.settimeout(30)

            def do_GET(self):
                outer.requests.append((time.time(), self.path))
                self.close_connection = True
                with contextlib.suppress(OSError):
                    outer.answer(self)

            def do_POST(self):
                self.posted = self.rfile.read(int(self.headers["content-length"]))
                self.do_GET()

            def log_message(self, *args):
                pass

        class Threaded(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                # The handshake is the handler thread's affair: a silent client must not stop the others.
                connection, address = self.socket.accept()
                return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

            def handle_error(self, request, client_address):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self._http = Threaded(("127.0.0.1", 0), Handler)
        self.url = f"https://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def answer(self, handler):
        raise NotImplementedError

    def close(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def reply(handler, status, body=b"", **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def as_json(handler, status, addresses, next_id, **headers):
    reply(handler, status, json.dumps({"ipaddress": addresses, "ID": next_id}).encode(), **headers)


class ApibanServer(Server):
    """APIBAN's API as its documentation says: batches, IDs, and a limit of requests within a window.

    `entries` are (ID, address); `faults` are what the next requests meet instead (None for a good answer).
    """

    def __init__(self, pem, *, key, entries, limit=11, window=120.0, end_status=400):
        self.key, self.entries = key, entries
        self.limit, self.window, self.end_status = limit, window, end_status
        self.faults = []
        self.exceeded = 0
        self.datasets = []
        self.good_ids = []
        """The IDs that were answered well, in order."""
        super().__init__(pem)

    def answer(self, handler):
        now = self.requests[-1][0]
        if sum(when > now - self.window for when, _ in self.requests) > self.limit:
            self.exceeded += 1
            as_json(handler, 429, "rate limit exceeded", "unauthorized")
            return
        fault = self.faults.pop(0) if self.faults else None
        parts = handler.path.strip("/").split("/")
        if fault:
            getattr(self, f"fault_{fault}")(handler)
        elif parts == ["api", "get"] and handler.headers["authorization"] == f"Bearer {self.key}":
            told = json.loads(handler.posted)
            self.datasets.append(told["set"])
            self.page(handler, int(told["id"]))
        elif parts[:2] != ["api", self.key] or parts[2] != "banned":
            as_json(handler, 403, "none", "unauthorized")
        else:
            self.page(handler, int(parts[3]) if len(parts) > 3 else 100)

    def page(self, handler, asked):
        self.good_ids.append(asked)
        page = sorted(entry for entry in self.entries if entry[0] > asked)[:BATCH]
        if page:
            as_json(handler, 200, [address for _, address in page], str(page[-1][0]))
        else:
            as_json(handler, self.end_status, ["no new bans"], "none")

    def fault_rate_limit(self, handler):
        as_json(handler, 429, "rate limit exceeded", "unauthorized")

    def fault_server_error(self, handler):
        reply(handler, 502, b"<html>bad gateway</html>")

    def fault_not_found(self, handler):
        as_json(handler, 404, "not found", "none")

    def fault_wrong_key(self, handler):
        as_json(handler, 403, "none", "unauthorized")

    def fault_string(self, handler):
        as_json(handler, 200, "something went wrong", "99999999999")

    def fault_words(self, handler):
        as_json(handler, 200, ["something", "went", "wrong"], "99999999999")

    def fault_backwards(self, handler):
        as_json(handler, 200, ["198.51.100.200"], "1")

    def fault_no_id(self, handler):
        as_json(handler, 200, ["198.51.100.200"], None)

    def fault_none_with_addresses(self, handler):
        as_json(handler, 200, ["198.51.100.200"], "none")

    def fault_odd_json(self, handler):
        reply(handler, 200, b"[" * 100_000)

    def fault_not_json(self, handler):
        reply(handler, 200, b'{"ipaddress": ["198.51.100.200"], "ID": "99')

    def fault_redirect(self, handler):
        reply(handler, 302, Location=f"https://localhost:{self._http.server_port}{handler.path}")

    def fault_cut(self, handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(b'{"ipaddress": ["198.51.100.200"], "ID": "99999999999"}'.ljust(2000))
        handler.connection.shutdown(socket.SHUT_RDWR)

    def fault_reset(self, handler):
        handler.connection.shutdown(socket.SHUT_RDWR)

    def fault_huge(self, handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        block = b"198.51.100.200, " * 4096
        for _ in range(100 * 1024 * 1024 // len(block)):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))

    def fault_huge_told(self, handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(100 * 1024 * 1024))
        handler.end_headers()
        handler.wfile.write(b" " * 100_000)

    def fault_drip(self, handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        for _ in range(5000):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(DRIP)

    def fault_compressed(self, handler):
        reply(handler, 200, b"\x1f\x8b", Content_Encoding="gzip")


class ListServer(Server):
    """Serves `body` with ETag and Last-Modified, and answers 304 to who has it; `redirect` sends on."""

    def __init__(self, pem, body=b""):
        self.body, self.etag, self.status, self.redirect = body, '"1"', 200, None
        self.statuses = []
        super().__init__(pem)

    def answer(self, handler):
        if self.redirect and handler.path.partition("?")[0] == "/list":
            reply(handler, 302, Location=self.redirect)
            return
        same = handler.headers.get("If-None-Match") == self.etag
        self.statuses.append(304 if same else self.status)
        reply(
            handler,
            self.statuses[-1],
            b"" if same else self.body,
            ETag=self.etag,
            Last_Modified="Sat, 21 Nov 2026 20:00:00 GMT",
        )


class Proxy:
    """A proxy that joins what is asked for with CONNECT, and notes it."""

    def __init__(self):
        self.asked = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self):
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            self.asked.append(client.recv(4000).split(b"\r\n")[0].decode())
            host, port = self.asked[-1].split()[1].split(":")
            server = socket.create_connection((host, int(port)))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            self._threads.append(threading.Thread(target=_pump, args=(server, client), daemon=True))
            self._threads[-1].start()
            _pump(client, server)

    def close(self):
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


def _pump(source, target):
    """Hand on what comes until it ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
    source.close()
