"""A SIP registrar of a few lines, for `sipguard selftest`: challenges, refuses, and writes FreeSWITCH's line to a log."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading

from running import append, failure


class Registrar:
    """Listens over UDP, TCP and TLS on ports of its own. `habit` is what is wrong with it: `right`, if nothing."""

    def __init__(self, log, certificate, *, habit="right", host="127.0.0.1"):
        self.log, self.habit, self.host = log, habit, host
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self.ports, self._ends = {}, []
        for transport in ("udp", "tcp", "tls"):
            end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
            end.bind((host, 0))
            self.ports[transport] = end.getsockname()[1]
            self._ends.append(end)
            if transport != "udp":
                end.listen()
            threading.Thread(target=self._serve, args=(transport, end), daemon=True).start()

    def close(self):
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _serve(self, transport, end):
        with contextlib.suppress(OSError):
            while True:
                if transport == "udp":
                    data, sender = end.recvfrom(65536)
                    if not data:
                        return
                    for answer in self._answers(data.decode(), transport):
                        end.sendto(answer.encode(), sender)
                else:
                    sock, _ = end.accept()
                    with contextlib.suppress(OSError), sock:
                        self._talk(
                            self._context.wrap_socket(sock, server_side=True) if transport == "tls" else sock, transport
                        )

    def _talk(self, sock, transport):
        with sock:
            while data := sock.recv(65536):
                for answer in self._answers(data.decode(), transport):
                    sock.sendall(answer.encode())

    def _answers(self, request, transport):
        assert f"SIP/2.0/{transport.upper()} {self.host}:" in request
        if self.habit == "silent":
            return []
        copied = re.findall(r"^(?:Via|From|To|Call-ID|CSeq):.*$", request, re.MULTILINE)

        def answer(status, *more):
            return "\r\n".join(
                [f"SIP/2.0 {status}", *(line.strip() for line in copied), *more, "Content-Length: 0", "", ""]
            )

        if self.habit == "open":
            return [answer("200 OK")]
        if "Authorization:" not in request:
            challenge = 'WWW-Authenticate: Digest realm="a", nonce="0123456789", algorithm=MD5, qop="auth"'
            return [answer("100 Trying"), answer("401 Unauthorized", challenge)]
        assert re.search(r'username="sipguard-selftest".*response="[0-9a-f]{32}".*qop=auth, nc=00000001', request)
        if self.habit == "strange":
            append(self.log, "2026-11-28 10:00:00.1 [WARNING] registrar: 127.0.0.1 gave a password that is wrong\n" * 2)
        elif self.habit != "mute":
            append(self.log, failure(self.host, user="sipguard-selftest") * 2)
        return [answer("403 Forbidden")]
