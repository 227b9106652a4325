"""A SIP user agent small enough to read: registers over UDP with digest authentication, as a phone does.

Each attempt is a REGISTER without credentials, the server's challenge, and a REGISTER that answers it (RFC 3261 section
22, RFC 2617 with MD5, which every SIP server still speaks). It needs nothing but Python, so the lab can start it in any
network namespace:

    python3 sip_client.py SERVER USER PASSWORD [COUNT [MORE]]

prints one line per attempt: the last status code, `rejected` (ICMP port unreachable came back: a firewall's REJECT) or
`silent` (no answer within twelve seconds). With MORE it ends that many attempts after the first that was rejected. Exit
status 0 if the last attempt got 200.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import sys

SIP_PORT = 5060
ANSWER_WITHIN = 12.0
"""Seconds to wait for an answer; there is no retransmission, so that one attempt is one line in the server's log."""

REJECTED = "rejected"
SILENT = "silent"


def md5(text: str) -> str:
    """The hexadecimal MD5 digest that RFC 2617 calls H()."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def register_request(
    sock: socket.socket, server: str, user: str, call: tuple[str, int], authorization: str = ""
) -> bytes:
    """One REGISTER; `call` is the Call-ID and the sequence number (CSeq)."""
    here, port = sock.getsockname()
    call_id, sequence = call
    lines = [
        f"REGISTER sip:{server} SIP/2.0",
        f"Via: SIP/2.0/UDP {here}:{port};rport;branch=z9hG4bK{secrets.token_hex(6)}",
        f"From: <sip:{user}@{server}>;tag={call_id[:8]}",
        f"To: <sip:{user}@{server}>",
        f"Call-ID: {call_id}",
        f"CSeq: {sequence} REGISTER",
        f"Contact: <sip:{user}@{here}:{port}>",
        "Max-Forwards: 70",
        "Expires: 60",
        *([authorization] if authorization else []),
        "Content-Length: 0",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer_to(challenge: str, server: str, user: str, password: str) -> str:
    """The Authorization header for the parameters of a WWW-Authenticate header."""
    given: dict[str, str] = dict(re.findall(r'(\w+)="?([^",\r]+)"?', challenge))
    uri, cnonce = f"sip:{server}", secrets.token_hex(4)
    secret, request = md5(f"{user}:{given['realm']}:{password}"), md5(f"REGISTER:{uri}")
    proof = md5(f"{secret}:{given['nonce']}:00000001:{cnonce}:auth:{request}")
    opaque = f', opaque="{given["opaque"]}"' if "opaque" in given else ""
    return (
        f'Authorization: Digest username="{user}", realm="{given["realm"]}", nonce="{given["nonce"]}", uri="{uri}", '
        f'response="{proof}", algorithm=MD5, qop=auth, nc=00000001, cnonce="{cnonce}"{opaque}'
    )


def attempt(server: str, user: str, password: str) -> str:
    """One registration: the last status code as text, `rejected` or `silent`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(ANSWER_WITHIN)
        sock.connect((server, SIP_PORT))
        call_id = secrets.token_hex(12)
        try:
            sock.send(register_request(sock, server, user, (call_id, 1)))
            answer = sock.recv(65535).decode(errors="replace")
            if challenge := re.search(r"^WWW-Authenticate: Digest (.*)$", answer, re.MULTILINE | re.IGNORECASE):
                authorization = answer_to(challenge[1], server, user, password)
                sock.send(register_request(sock, server, user, (call_id, 2), authorization))
                answer = sock.recv(65535).decode(errors="replace")
            return answer.split()[1]
        except ConnectionRefusedError:
            return REJECTED
        except TimeoutError:
            return SILENT


def main(arguments: list[str]) -> int:
    """The command line that the module's docstring describes; its exit status."""
    if len(arguments) not in (3, 4, 5):
        print(__doc__, file=sys.stderr)
        return 2
    server, user, password = arguments[:3]
    left = int(arguments[3]) if len(arguments) > 3 else 1
    more = int(arguments[4]) if len(arguments) > 4 else left
    outcome, met = "", False
    while left > 0:
        outcome = attempt(server, user, password)
        print(outcome, flush=True)
        left -= 1
        if outcome == REJECTED and not met:
            met, left = True, min(left, more)
    return 0 if outcome == "200" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
