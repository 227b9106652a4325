"""A SIP server and its clients in network namespaces, and a daemon beside the server that watches the wire."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import toml
from json_manual import hold
from running import RunningDaemon
from sip_packets import answer, request

from tests.netns import link, namespace

SERVER, SERVER6 = "198.51.100.1", "2001:db8::1"
GUESSER, PHONE, OTHER = "198.51.100.66", "198.51.100.20", "198.51.100.67"
GUESSER6 = "2001:db8:0:66::66"
GOOD = "a" * 32
_NONCE = re.compile(rb'nonce="([^"]+)"')
_RESPONSE = re.compile(rb'response="([^"]+)"')
ANSWER = 2.0
"""Seconds that a client waits for an answer; who is held back waits in vain."""

FLOOD = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
end = time.monotonic() + 1.5
sources = []
for last in range(20, 80):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((f"198.51.100.{last}", 0))
    one.connect(("198.51.100.1", 5061))
    sources.append(one)
while time.monotonic() < end:
    for one in sources:
        try:
            one.send(b"x" * 12000)
        except OSError:
            pass
"""
"""A client's program: sends from sixty addresses, for 1.5 s, more than the kernel keeps."""


def judged(payload):
    """What the server answers: a challenge, a refusal, or 200 to the good response."""
    response = _RESPONSE.search(payload)
    if response is None:
        return answer(401, payload, nonce=str(uuid.uuid4()))
    return answer(200 if response[1] == GOOD.encode() else 403, payload)


class Server:
    """Answers REGISTER at one address, over UDP and TCP, until it is closed. `asked` counts what it got."""

    def __init__(self, net, addresses=(SERVER, SERVER6), port=5060):
        self.asked = 0
        self._sockets = []
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with net.inside():
                udp, tcp = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_STREAM)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            udp.bind((address, port))
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((address, port))
            tcp.listen()
            self._sockets += [udp, tcp]
            threading.Thread(target=self._answer, args=(udp,), daemon=True).start()
            threading.Thread(target=self._accept, args=(tcp,), daemon=True).start()

    def close(self):
        """Answer no more."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def judged(self, payload, sender):
        """The answer to a message."""
        return judged(payload)

    def _answer(self, udp):
        with contextlib.suppress(OSError):
            while True:
                try:
                    payload, sender = udp.recvfrom(65_535)
                    if sender is None:  # it was shut down
                        return
                    self.asked += 1
                    if payload.strip() and (reply := self.judged(payload, sender[0])):
                        udp.sendto(reply, sender)
                except ConnectionRefusedError:
                    continue

    def _accept(self, tcp):
        with contextlib.suppress(OSError):
            while True:
                client, _ = tcp.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        with contextlib.suppress(OSError), client:
            while payload := client.recv(65_535):
                self.asked += 1
                client.sendall(self.judged(payload, client.getpeername()[0]))


class Client:
    """A client's socket in its namespace."""

    def __init__(self, net, address, *, kind=socket.SOCK_DGRAM, server=None, port=5060, source_port=0):
        server = server or (SERVER6 if ":" in address else SERVER)
        with net.inside():
            self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
            self.socket.settimeout(ANSWER)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind((address, source_port))
            self.socket.connect((server, port))

    def ask(self, payload):
        """Send, and give the answer; raises what the kernel says of a rejected packet, TimeoutError without an answer."""
        self.socket.send(payload)
        return self.socket.recv(65_535)

    def register(self, *, response=None, user="1000", extra="", nonce=None):
        """Fetch a nonce and send credentials; gives the status of the last answer."""
        nonce = nonce or _NONCE.search(self.ask(request(user=user)))[1].decode()
        response = response or uuid.uuid4().hex
        return int(self.ask(request(user=user, nonce=nonce, response=response, extra=extra))[8:11])

    def rejected(self):
        """Whether the server's firewall refuses this client."""
        try:
            self.ask(request())
        except (ConnectionRefusedError, ConnectionResetError, TimeoutError):
            return True
        return False


class WireLab:
    """One server namespace with a daemon, and one for clients."""

    def __init__(self, folder, server, clients, *, backend="nftables", wire=None, jails=None, prefix=(), arguments=()):
        Path(folder).mkdir(exist_ok=True)
        self.server_net, self.net = server, clients
        self.stack = contextlib.ExitStack()
        jail = {"ipv6prefix": 64, "maxretry": 5, "bantime": 600}
        where = ["ip", "netns", "exec", server.name, *prefix]
        jails = {"sip": jail} if jails is None else jails
        self.daemon = RunningDaemon(folder, jails, firewall=backend, prefix=where, arguments=arguments)
        self.metrics_socket = Path(folder) / "metrics.sock"
        more = {"wire": {"enabled": True, **(wire or {})}, "metrics": {"listen": str(self.metrics_socket)}}
        self.daemon.config.write_text(self.daemon.config.read_text() + "\n" + toml.dumps(more))

    def start(self):
        """Start the daemon; it watches when this returns."""
        self.daemon.start()
        self.daemon.wait_for(lambda: (self.wire() or {}).get("ports"), "the watch")
        return self

    def wire(self):
        """What `status` says of the wire."""
        status = json.loads(self.daemon.sipguard("status", "--json", check=False).stdout)
        hold("status", status)
        wire = status["wire"]
        return wire and {**wire["watched"], "problem": wire["problem"]}

    def client(self, address=GUESSER, **options):
        """A client."""
        made = Client(self.net, address, **options)
        self.stack.callback(made.socket.close)
        return made

    def run_client(self, script, *arguments, **options):
        """Run Python in the clients' namespace; gives what it prints."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            ["ip", "netns", "exec", self.net.name, sys.executable, "-c", script, *map(str, arguments)],
            capture_output=True, text=True, check=True, env=environment, **options,
        ).stdout  # fmt: skip

    def metrics(self):
        """What Prometheus reads."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.metrics_socket))
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return sock.makefile("rb").read().decode()

    def banned(self):
        """Who is."""
        return self.daemon.banned("sip")

    def doubts(self, address):
        """Attempts of an address that count for nothing."""
        return json.loads(self.daemon.sipguard("explain", address, "--json", check=False).stdout)["doubts"]


@contextlib.contextmanager
def wire_lab(folder, *, addresses=(GUESSER, PHONE, OTHER), serve=Server, **options):
    """Server, clients, daemon; all end with the context. `serve` makes the server, if there is to be one."""
    with namespace("nft") as server, namespace("nft") as clients, contextlib.ExitStack() as stack:
        link(
            clients,
            [*(f"{address}/24" for address in addresses), f"{GUESSER6}/32", "2001:db8:0:20::20/32"],
            server,
            [f"{SERVER}/24", f"{SERVER6}/32"],
        )
        if serve:
            stack.callback(serve(server).close)
        with started(WireLab(folder, server, clients, **options)) as lab:
            yield lab


@contextlib.contextmanager
def started(lab):
    """A lab whose daemon runs; it ends with the context."""
    try:
        yield lab.start()
    finally:
        lab.stack.close()
        if lab.daemon.process is not None and lab.daemon.process.poll() is None:
            lab.daemon.stop()
