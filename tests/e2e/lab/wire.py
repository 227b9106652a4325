"""The lab's servers with HEP switched on as docs/wire.md says, and a collector beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from lab.asterisk_conf import PASSWORD
from lab.kamailio import KamailioLab
from lab.lab import PBX, Lab, _call

KEY, PORT = "a secret of your own", "9060"
"""Those of docs/wire.md."""
NONCE = 3
"""Seconds for which the servers accept a nonce."""
PBX6, ATTACKER6 = "2001:db8::1", "2001:db8::66"
_CLIENT, HEP_COLLECTOR, PACKET_COLLECTOR = (
    Path(__file__).with_name(name) for name in ("wire_client.py", "wire_collector.py", "packet_collector.py")
)
_ROOT = Path(__file__).resolve().parents[3]

_TRANSPORTS = """
[transport-tcp]
type=transport
protocol=tcp
bind=0.0.0.0:5060
[transport-tls]
type=transport
protocol=tls
bind=0.0.0.0:5061
cert_file={inside}/etc/cert.pem
priv_key_file={inside}/etc/key.pem
method=tlsv1_2
[transport-ws]
type=transport
protocol=ws
bind=0.0.0.0
[transport-udp6]
type=transport
protocol=udp
bind=[::]:5060
[transport-tcp6]
type=transport
protocol=tcp
bind=[::]:5060
"""
_HTTP = "[general]\nenabled = yes\nbindaddr = 0.0.0.0\nbindport = 8088\n"
_KAMAILIO = """#!KAMAILIO
log_stderror=no
children=2
listen=udp:{pbx}:5060
listen=tcp:{pbx}:5060
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "auth.so"
loadmodule "textops.so"
loadmodule "siputils.so"
{hep}
modparam("auth", "nonce_expire", {lifetime})
{nonces}
request_route {{
    if (!pv_www_authenticate("$td", "{password}", "0")) {{
        www_challenge("$td", "1");
        exit;
    }}
    sl_send_reply("200", "OK");
}}
"""
_ONE_TIME = 'modparam("auth", "one_time_nonce", 1)'
NONCES = {
    "as it comes": "",
    "one time": _ONE_TIME,
    "source": "\n".join(f'modparam("auth", "auth_checks_{one}", 8)' for one in ("register", "no_dlg", "in_dlg")),
}


def documented(server):
    """The lines of docs/wire.md that switch HEP on in a server."""
    text = (_ROOT / "docs" / "wire.md").read_text()
    return text.partition(f"\n{server}")[2].partition("```\n")[2].partition("```")[0]


class Collecting:
    """What both servers' labs have: the collector, and the clients of the wire."""

    _collector = None
    collector = HEP_COLLECTOR
    """The program that collects: HEP packets, or the host's own."""

    def collect(self) -> None:
        """Start the collector in `pbx`."""
        line = [sys.executable, self.collector, PORT, KEY, f"{PBX},{PBX6}", self.home / "attempts"]
        self._collector = subprocess.Popen(
            self.command("pbx", *line), stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(_ROOT)}
        )
        assert self._collector.stdout.readline() == "ready\n"

    def _start(self) -> None:
        self.collect()
        super()._start()

    def down(self) -> None:
        """Also the collector."""
        self.stop_collecting()
        super().down()

    def stop_collecting(self) -> None:
        """End the collector."""
        if self._collector is not None:
            self._collector.kill()
            self._collector.communicate()
            self._collector = None

    def client(self, host, *arguments, server=PBX, source="", port=0):
        """Run the client on a host, from one of its addresses; gives the lines that it prints."""
        where = f"{server}@{source}:{port}" if source else server
        done = self.run(host, sys.executable, _CLIENT, where, *map(str, arguments), timeout=300)
        assert not done.stderr, done.stderr
        return done.stdout.split()

    def attempts(self):
        """All attempts so far, once no more come."""
        before, text = None, ""
        while before != text or not text:
            before = text
            time.sleep(1.0)
            text = "\n".join(
                line for line in (self.home / "attempts").read_text().split("\n") if "received" not in line
            )
            text = text or "\n"
        return [json.loads(line) for line in text.split("\n") if line]

    def counted(self):
        """(address, source where it is another, verdict, evidence) → how often."""
        return Counter(
            (one["address"], one["source"] if one["source"] != one["address"] else "", one["verdict"], one["evidence"])
            for one in self.attempts()
        )


class AsteriskWire(Collecting, Lab):
    """Asterisk with UDP, TCP, TLS, WebSocket, IPv6 and res_hep."""

    def _configure(self) -> None:
        super()._configure()
        etc, inside = self.home / "etc", f"/srv/{self.name}"
        (etc / "hep.conf").write_text(documented("Asterisk, `hep.conf`"))
        (etc / "http.conf").write_text(_HTTP)
        # Where there is chan_sip, it would take the WebSockets.
        (etc / "sip.conf").write_text((etc / "sip.conf").read_text().replace("]\n", "]\nwebsocket_enabled=no\n", 1))
        pjsip = (etc / "pjsip.conf").read_text()
        pjsip = pjsip.replace("type=auth\n", f"type=auth\nnonce_lifetime={NONCE}\n")
        (etc / "pjsip.conf").write_text(pjsip + _TRANSPORTS.format(inside=inside))
        certificate = ["-keyout", etc / "key.pem", "-out", etc / "cert.pem", "-subj", "/CN=pbx"]
        _call("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *certificate)
        _call("chroot", self.root, "chown", "-R", "asterisk:asterisk", inside)

    def _connect(self) -> None:
        super()._connect()
        for host, address in (("pbx", PBX6), ("atk", ATTACKER6)):
            device = "lan" if host == "pbx" else "vatk"
            _call("ip", "-n", self.namespace(host), "addr", "add", f"{address}/64", "dev", device, "nodad")


class KamailioWire(Collecting, KamailioLab):
    """Kamailio with siptrace; `nonces` is a key of `NONCES`, `evidence` what it can prove over UDP."""

    def __init__(self, nonces, cache=None) -> None:
        super().__init__(cache)
        self._nonces = nonces
        self.evidence = "proven" if NONCES[nonces] else "reported"

    def _configure(self) -> None:
        super()._configure()
        hep = documented("Kamailio:").replace(_ONE_TIME, "")
        text = _KAMAILIO.format(pbx=PBX, hep=hep, password=PASSWORD, nonces=NONCES[self._nonces], lifetime=NONCE)
        (self.home / "kamailio.cfg").write_text(text)
