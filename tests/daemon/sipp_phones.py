"""Phones that register and call, by sipp (Debian's package sip-tester), and a server that checks their passwords."""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
import subprocess
from collections import OrderedDict
from typing import NamedTuple

from sip_packets import answer
from wire_lab import Server

PHONES = tuple(f"198.51.100.{last}" for last in range(20, 40))
PASSWORD = "correct-horse-battery"
MISSING = "" if shutil.which("sipp") else "there is no sipp: Debian's package sip-tester brings it"
_REMEMBERED = 1000
_FIELD = re.compile(rb'(\w+)="([^"]*)"')
_TRANSACTION = re.compile(rb"branch=([^;\r\n]+)")


class PhoneServer(Server):
    """Challenges registrations and calls, and checks the digest (RFC 2617, without qop).

    What is sent again gets the same answer.
    """

    def __init__(self, *arguments, **options):
        self._answered = OrderedDict()
        super().__init__(*arguments, **options)

    def judged(self, payload, sender):
        """The answer; nothing to an ACK."""
        method = payload.split(b" ", 1)[0]
        if method == b"ACK":
            return b""
        branch = _TRANSACTION.search(payload)
        key = (method, branch and branch[1])
        if key not in self._answered:
            if len(self._answered) >= _REMEMBERED:
                self._answered.popitem(last=False)
            right = method == b"BYE" or _is_right(payload, method)
            self._answered[key] = answer(200, payload) if right else super().judged(payload, sender)
        return self._answered[key]


def _is_right(payload, method):
    """Whether a request has credentials with the password."""
    given = dict(_FIELD.findall(payload.partition(b"Authorization: Digest ")[2].partition(b"\r\n")[0]))
    if not given:
        return False
    secrets = (b":".join((given[b"username"], given[b"realm"], PASSWORD.encode())), method + b":" + given[b"uri"])
    first, second = (hashlib.md5(one, usedforsecurity=False).hexdigest().encode() for one in secrets)
    right = hashlib.md5(first + b":" + given[b"nonce"] + b":" + second, usedforsecurity=False).hexdigest()
    return given[b"response"] == right.encode()


def _request(method, cseq, more="", to=""):
    return f"""  <send{' retrans="500"' if method != "ACK" else ""}><![CDATA[
{method} sip:1000@[remote_ip] SIP/2.0
Via: SIP/2.0/UDP [field0];rport;branch=[branch]
From: <sip:1000@[remote_ip]>;tag=[call_number]
To: <sip:1000@[remote_ip]>{to}
Call-ID: [call_id]
CSeq: {cseq} {method}
Contact: <sip:1000@[field0]>
{more}Max-Forwards: 70
Content-Length: 0

]]></send>
"""


_CREDENTIALS = f"[authentication username=1000 password={PASSWORD}]\n"
_CHALLENGED = '  <recv response="401" auth="true"/>\n'
_TAKEN = '  <recv response="200"/>\n'
_SCENARIO = "".join((
    '<?xml version="1.0" encoding="ISO-8859-1"?>\n<scenario name="phones">\n',
    _request("REGISTER", 1), _CHALLENGED, _request("REGISTER", 2, _CREDENTIALS), _TAKEN,
    _request("INVITE", 3), _CHALLENGED, _request("ACK", 3), _request("INVITE", 4, _CREDENTIALS), _TAKEN, _request("ACK", 4),
    '  <pause milliseconds="300"/>\n', _request("BYE", 5), _TAKEN, "</scenario>\n",
))  # fmt: skip


class Calls(NamedTuple):
    """What has become of them: each is a registration, a call that is taken, and its end."""

    made: int
    failed: int
    sent_again: int
    """Requests that were sent again, as no answer had come within half a second."""
    told: str
    """What sipp has said."""

    @property
    def shown(self):
        """For people."""
        return f"{self.made - self.failed} of {self.made} calls, {self.sent_again} requests sent again"


class Phones:
    """Twenty phones, each at an address of its own; calls begin at once."""

    def __init__(self, net, folder, server, *, calls, rate=20):
        """`rate`: calls a second, of all phones together."""
        folder.mkdir(exist_ok=True)
        (folder / "phones.xml").write_text(_SCENARIO)
        (folder / "phones.csv").write_text("SEQUENTIAL\n" + "".join(f"{one};\n" for one in PHONES))
        self._figures = folder / "figures.csv"
        where = ["-t", "ui", "-i", PHONES[0], "-inf", "phones.csv", "-ip_field", "0"]
        told = ["-trace_stat", "-stf", self._figures.name, "-fd", "1", "-nostdin", "-max_socket", "100"]
        line = [
            "sipp",
            "-sf",
            "phones.xml",
            *where,
            *told,
            "-m",
            str(calls),
            "-r",
            str(rate),
            "-timeout",
            "60",
            f"{server}:5060",
        ]
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", net.name, *line], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        )  # fmt: skip

    def result(self):
        """Wait until all calls are over."""
        told = self.process.communicate()[0]
        assert self._figures.exists(), told
        with self._figures.open() as file:
            last = list(csv.DictReader(file, delimiter=";"))[-1]
        made, failed, again = (int(last[name]) for name in ("TotalCallCreated", "FailedCall(C)", "Retransmissions(C)"))
        return Calls(made, failed, again, told[-2000:])
