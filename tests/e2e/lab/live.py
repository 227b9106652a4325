"""The lab's servers in the places where they stand: alone, behind a proxy on their host, in a container; and who watches them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import toml
from running import RunningDaemon

from lab.asterisk_conf import PASSWORD
from lab.kamailio import KamailioLab, install_kamailio
from lab.lab import PBX, SUITES, LabUnavailableError, _call, _remove_namespace
from lab.wire import NONCES, PBX6, AsteriskWire, Collecting
from sipguard.cli.client import ask

BOX, BOX_HOST = ("172.16.0.2", "2001:db8:b::2"), ("172.16.0.1", "2001:db8:b::1")
"""The container, and its host as the container sees it."""
GUESSERS = {"udp": "198.51.100.61", "tcp": "198.51.100.62", "tls": "198.51.100.63", "ws": "198.51.100.64"}
GUESSERS6 = {"udp6": "2001:db8::61", "tcp6": "2001:db8::62"}
OTHERS = tuple(f"198.51.100.{last}" for last in range(70, 80))
"""More addresses of the attacker's."""
NO_MODULE = "Debian's package kamailio has no module for it"
_SHORT = [sys.executable, str(Path(__file__).parents[2] / "daemon" / "short_start.py")]

_PROXY = f"""#!KAMAILIO
log_stderror=no
children=2
mhomed=1
listen=udp:{PBX}:5060
listen=tcp:{PBX}:5060
listen=udp:[{PBX6}]:5060
listen=tcp:[{PBX6}]:5060
listen=udp:127.0.0.1:5060
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "pv.so"
request_route {{
    $du = "sip:127.0.0.1:5070;transport=udp";
    $fs = "udp:127.0.0.1:5060";
    t_relay();
}}
"""
_NAT = f"""
table inet nat {{
  chain pre {{
    type nat hook prerouting priority -100
    ip daddr {PBX} meta l4proto {{ tcp, udp }} th dport {{ 5060, 5061, 8088 }} dnat ip to {BOX[0]}
    ip6 daddr {PBX6} meta l4proto {{ tcp, udp }} th dport {{ 5060, 5061, 8088 }} dnat ip6 to {BOX[1]}
  }}
  chain post {{
    type nat hook postrouting priority 100
    oifname "docker0" masquerade
    oifname "lan" masquerade
  }}
}}
"""


def _register(number: int, *credentials: str) -> str:
    return f"""
REGISTER sip:[remote_ip] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:1000@[remote_ip]>;tag=[call_number]
To: <sip:1000@[remote_ip]>
Call-ID: [call_id]
CSeq: {number} REGISTER
Contact: <sip:1000@[local_ip]:[local_port]>
{"".join(credentials)}Max-Forwards: 70
Expires: 60
Content-Length: 0

"""


_CREDENTIALS = f"[authentication username=1000 password={PASSWORD}]\n"
PHONES = f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="phones">
  <send retrans="500"><![CDATA[{_register(1)}]]></send>
  <recv response="401" auth="true"/>
  <send retrans="500"><![CDATA[{_register(2, _CREDENTIALS)}]]></send>
  <recv response="200"/>
</scenario>
"""
"""sipp's: each call is a phone's registration."""


class Live:
    """What all of them have: the attacker's many addresses, phones, the jail that reads the server's log; no collector."""

    jail, log_name = "asterisk", "full"
    lacks: dict[str, str] = {}  # noqa: RUF012 - constant
    """Transport → why this server has it not."""
    unnamed: dict[str, str] = {}  # noqa: RUF012
    """Transport → why neither its packets nor the log name its clients."""
    unpredictable = True
    """Nobody can foresee its nonces."""

    def collect(self) -> None:
        """Nothing: a daemon watches."""

    def _connect(self) -> None:
        super()._connect()
        atk = self.namespace("atk")
        for address in (*GUESSERS.values(), *OTHERS):
            _call("ip", "-n", atk, "addr", "add", f"{address}/24", "dev", "vatk")
        for address in GUESSERS6.values():
            _call("ip", "-n", atk, "addr", "add", f"{address}/64", "dev", "vatk", "nodad")

    def phones(self, count):
        """Registrations by sipp, twenty a second; gives what it says where it has failed. None where there is no sipp."""
        if shutil.which("sipp") is None:
            return None
        scenario = self.home / "phones.xml"
        scenario.write_text(PHONES)
        here = ["-i", "198.51.100.20", "-p", 5066]
        line = ["sipp", "-sf", scenario, *here, "-m", count, "-r", 20, "-nostdin", f"{PBX}:5060"]
        done = self.run("phone", *map(str, line), timeout=120)
        return "" if done.returncode == 0 else done.stdout[-2000:] + done.stderr


class PlainAsterisk(Live, AsteriskWire):
    """Asterisk alone on its host."""

    @property
    def title(self):
        """For the table."""
        return SUITES[self.suite]


class LiveKamailio(Live, Collecting, KamailioLab):
    """Kamailio with the lines of docs/kamailio.md, and one kind of nonces."""

    jail, log_name = "kamailio", "syslog"
    lacks = dict.fromkeys(("tls", "ws"), NO_MODULE)

    def __init__(self, nonces):
        super().__init__()
        self._nonces = nonces
        self.title = f"Kamailio 5.6, nonces {nonces}"
        self.unpredictable = bool(NONCES[nonces])

    def _connect(self) -> None:
        super()._connect()
        for host, address in (("pbx", PBX6), ("atk", "2001:db8::66")):
            device = "lan" if host == "pbx" else "vatk"
            _call("ip", "-n", self.namespace(host), "addr", "add", f"{address}/64", "dev", device, "nodad")

    def _configure(self) -> None:
        super()._configure()
        conf = self.home / "kamailio.cfg"
        more = "".join(f"listen={kind}:{where}:5060\n" for kind in ("udp", "tcp") for where in (PBX, f"[{PBX6}]"))
        text = (
            conf.read_text()
            .replace("disable_tcp=yes\n", more)
            .replace(f"listen=udp:{PBX}:5060\nloadmodule", "loadmodule")
        )
        conf.write_text(text.replace("request_route", f"{NONCES[self._nonces]}\nrequest_route", 1))


class ProxiedAsterisk(PlainAsterisk):
    """Kamailio at port 5060 relays to Asterisk at 127.0.0.1:5070; both run on one host."""

    lacks = dict.fromkeys(("tls", "ws"), NO_MODULE)
    unpredictable = False  # to Asterisk all requests of a second have one source
    _kamailio = None

    @property
    def title(self):
        """For the table."""
        return f"Kamailio before {super().title}"

    def _configure(self) -> None:
        super()._configure()
        pjsip = self.home / "etc" / "pjsip.conf"
        text = pjsip.read_text().replace("bind=0.0.0.0:5060\n[1000]", "bind=127.0.0.1:5070\n[1000]")
        pjsip.write_text(text.partition("[transport-tcp]")[0])
        install_kamailio(self.cache)
        self._inside = self.cache / "kamailio" / "srv" / self.namespace("proxy")
        self._inside.mkdir(parents=True)
        (self._inside / "kamailio.cfg").write_text(_PROXY)

    def _start(self) -> None:
        root = self.cache / "kamailio"
        script = (
            f"mount --bind /dev {root}/dev && exec chroot {root} kamailio -DD -f /srv/{self._inside.name}/kamailio.cfg"
        )
        alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        with (self.home / "kamailio.out").open("wb") as out:
            self._kamailio = subprocess.Popen(
                self.command("pbx", *alone), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        super()._start()

    def down(self) -> None:
        """Also Kamailio."""
        if self._kamailio is not None:
            self._kamailio.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._kamailio.wait(5)
        super().down()
        if (inside := getattr(self, "_inside", None)) is not None:
            shutil.rmtree(inside, ignore_errors=True)


class BoxedAsterisk(PlainAsterisk):
    """In a container on a bridge of the host, behind DNAT; all that it gets seems to come from the host (masquerade)."""

    unnamed = {"tls": "the wire cannot read TLS, and the log names the container's host"}  # noqa: RUF012

    @property
    def title(self):
        """For the table."""
        return f"{super().title} in a container"

    def _connect(self) -> None:
        super()._connect()
        self.served_from = "box"
        box, host = self.namespace("box"), self.namespace("pbx")
        _call("ip", "netns", "add", box)
        _call("ip", "-n", box, "link", "set", "lo", "up")
        _call("ip", "-n", host, "link", "add", "docker0", "type", "bridge")
        _call("ip", "-n", host, "link", "set", "docker0", "up")
        _call("ip", "link", "add", "eth0", "netns", box, "type", "veth", "peer", "name", "pbox", "netns", host)
        _call("ip", "-n", host, "link", "set", "pbox", "master", "docker0", "up")
        _call("ip", "-n", box, "link", "set", "eth0", "up")
        for place, address, gateway in zip(("24", "64"), BOX, BOX_HOST, strict=True):
            _call("ip", "-n", host, "addr", "add", f"{gateway}/{place}", "dev", "docker0", "nodad")
            _call("ip", "-n", box, "addr", "add", f"{address}/{place}", "dev", "eth0", "nodad")
            _call("ip", "-n", box, "route", "add", "default", "via", gateway)
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            _call("ip", "netns", "exec", host, "sysctl", "-qw", f"{key}=1")
        self.translate()

    def translate(self) -> None:
        """The rules of the container's host."""
        line = self.command("pbx", "nft", "-f", "-")
        done = subprocess.run(line, input=_NAT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabUnavailableError(f"no translation of addresses here: {done.stderr.strip()}")

    def clear_firewall(self) -> None:
        """All rules but the container's."""
        super().clear_firewall()
        self.translate()

    def down(self) -> None:
        """Also the container."""
        super().down()
        _remove_namespace(self.namespace("box"))


class Watching:
    """A daemon beside the server: the jail that reads its log, and `sip`; without the wire the first alone."""

    def __init__(self, lab, folder, *, wired=True, maxretry=5) -> None:
        self.lab, self.wired = lab, wired
        log = lab.log(lab.log_name)
        jails = {lab.jail: {"logpath": str(log), "maxretry": maxretry, "bantime": 600}}
        if wired:
            jails["sip"] = {"maxretry": maxretry, "bantime": 600}
        self.jails = list(jails)
        prefix = [*lab.command("pbx"), *(_SHORT if wired else ())]
        self.daemon = RunningDaemon(folder, jails, firewall="nftables", prefix=prefix)
        text = self.daemon.config.read_text()
        self.daemon.config.write_text(text + "\n" + toml.dumps({"wire": {"enabled": wired}}))

    def __enter__(self):
        self.lab.settle()
        os.truncate(self.lab.log(self.lab.log_name), 0)  # what another test has done is not this one's
        self.daemon.start()
        if self.wired:
            self.daemon.wait_for(lambda: self.watched()["ports"], "the watch")
            # Others' nonces are trusted once two addresses have been sent different ones within a second, three times.
            if self.lab.jail == "kamailio":
                with ThreadPoolExecutor() as pool:
                    for host in ("phone", "atk"):
                        pool.submit(self.lab.client, host, "guess", 60, "REGISTER", "udp", "1000", PASSWORD)
        return self

    def __exit__(self, *_):
        self.daemon.stop()
        self.lab.clear_firewall()

    def watched(self):
        """What `status` says of the wire."""
        return ask(self.daemon.socket, "status", jail=None)["wire"]["watched"] or {"ports": ""}

    def counted(self, jail):
        """Address → failures that count."""
        return ask(self.daemon.socket, "status", jail=jail, counted=0)["jails"][0]["counted"]

    def unproven(self, jail):
        """Failures that ban nobody, and that the meter counts."""
        return self.daemon.status(jail)["totals"]["unproven"]

    def settle(self):
        """Wait until nothing more comes of what was done."""
        before, now = None, self._all()
        while before != now:
            time.sleep(1.5)  # longer than a line waits for its packets
            before, now = now, self._all()

    def _all(self):
        return [(self.counted(jail), self.unproven(jail)) for jail in self.jails]

    def banned(self):
        """Whom any jail bans."""
        return set().union(*map(self.daemon.banned, self.jails))

    def sight(self):
        """Have the wire confirm the log; whether it can."""
        self.lab.client("atk", "guess", 3, "REGISTER", "udp", source=OTHERS[0])
        examined = self.daemon.status(self.lab.jail)["corroboration"]
        end = time.monotonic() + 4
        while not all(examined["sighted"].values()) and time.monotonic() < end:
            time.sleep(0.1)
            examined = self.daemon.status(self.lab.jail)["corroboration"]
        return all(examined["sighted"].values())
