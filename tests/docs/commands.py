"""Every command that the documentation shows, of sipguard and of other programs; and those that no test runs, with the reason."""

from __future__ import annotations

import re

from test_pages import PAGES

_NAMES = "sipguard|fail2ban-client|fail2ban-regex"
_PROGRAMS = (
    rf"{_NAMES}|apt|systemctl|journalctl|asterisk|fs_cli|tar|sqlite3|install|make|pip|python3?|ansible-playbook|podman|docker"
    r"|cscli|rm|nft|ipset|curl|redis-cli|ssh|usermod|adduser|git|openssl|dpkg-deb"
)
_ANY = rf"(?:/opt/sipguard/bin/)?(?:{_PROGRAMS})\b"
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_LINE = re.compile(rf"^\s*(?:\$ )?(?:sudo )?({_ANY} .*)$", re.MULTILINE)
_INLINE = re.compile(rf"`(?:sudo )?({_ANY} [^`]*)`")
_BESIDE = re.compile(r"\s+#|\s{2,}|;")
"""What follows is no part of a command: a comment, or an explanation behind two blanks."""
_SENTENCES = re.compile(r"asterisk on pbx|ssh router|make sure")
"""What begins like a command and is none."""

ELSEWHERE = {
    "asterisk -rx": "tests/e2e/test_enable_asterisk.py: a real Asterisk",
    "cscli": "tests/fleet/test_crowdsec.py: a real CrowdSec",
    "ansible-playbook": "tests/e2e/test_ansible.py: against a chroot",
    "podman build": "tests/e2e/test_container.py: by buildah, which builds and runs what podman does",
    "podman run": "tests/e2e/test_container.py: by buildah, which builds and runs what podman does",
    "podman exec": "tests/e2e/test_container.py: by buildah, which builds and runs what podman does",
    "apt install": "tests/e2e/test_readme.py: in a Debian with nothing but apt",
    "python3 -m venv": "tests/e2e/test_stranger.py: a venv in a fresh Debian",
    "/opt/sipguard/bin/pip install": "tests/e2e/test_stranger.py: a venv in a fresh Debian",
    "pip install": "tests/e2e/test_stranger.py: a venv in a fresh Debian",
    "rm -r /opt/sipguard": "tests/e2e/test_stranger.py: a venv in a fresh Debian",
    "sipguard service": "tests/e2e/test_stranger.py: a venv in a fresh Debian",
    "make deb": "tests/e2e/test_stranger.py: Debian 13 from a bare system; tests/e2e/conftest.py: here",
    "make run": "tests/docs/test_demo.py: python -m demo, which is all that it calls",
    "make docs": "tests/docs/test_pages.py: packaging/build-docs, which is all that it calls",
    "sipguard replay --jail sip": "tests/cli/test_replay_captures.py: it takes a capture",
    "sipguard replay --jail freeswitch": "tests/cli/test_cross_examination.py: it takes a capture and a log",
    "sipguard adopt": "tests/e2e/test_adopt.py: a real Fail2ban with 500 bans",
    "sipguard client status": "tests/fail2ban: held against Fail2ban's own client, on Fail2ban's socket",
    "sipguard client set": "tests/fail2ban: held against Fail2ban's own client, on Fail2ban's socket",
    "sipguard client get": "tests/fail2ban: held against Fail2ban's own client, on Fail2ban's socket",
    "fail2ban-client stop": "tests/fail2ban/test_client.py",
    "sipguard web": "tests/web: it goes on until it is stopped",
}
"""Beginning of a command → the test that runs it with what it needs."""
NOT_RUN = {
    "make test": "it is what runs these tests",
    "make lint": "it looks at the code, and belongs to .ci/run",
    "make messages": "it takes all the tests",
    "make soak": "minutes of load, by make test-long",
    "make bench": "minutes on a quiet machine, watched by a person",
    "make picture": "it writes into the documentation",
    "python -m benchmarks": "minutes on a quiet machine, watched by a person",
    "systemctl stop crowdsec-firewall-bouncer": "CrowdSec's bouncer would enter the firewall of this machine",
    "ssh ": "it takes a second machine",
    "docker compose logs": "it takes a running Docker",
    "dpkg-deb -x": "it unpacks a package of the reader's choice",
    "nft flush ruleset": "tests/firewall flushes by the library; as a command it stands there for what others do",
    "nft list ruleset": "it stands there for what others see",
    "ipset save": "it stands there for what others do",
}
"""Beginning of a command → why no test runs it."""


def _cut(command: str) -> str:
    """Without what stands beside it; a pipe is part of it."""
    whole = " ".join(command.split("\n")).strip().replace("\\|", "|")
    return whole if " | jq" in whole else _BESIDE.split(whole)[0]


def commands() -> dict[str, str]:
    """Command → the page that shows it first."""
    found: dict[str, str] = {}
    for page in PAGES:
        text = page.read_text()
        lines = [
            line
            for _, language, block in _FENCE.findall(text)
            if language in ("", "sh")
            for line in _LINE.findall(block)
        ]
        for line in [*lines, *_INLINE.findall(_FENCE.sub("", text))]:
            command = _cut(line)
            if not _SENTENCES.match(command):
                found.setdefault(command.replace("/opt/sipguard/bin/sipguard", "sipguard"), page.name)
    return found


def told(command: str, reasons: dict[str, str]) -> str:
    """The reason for the longest beginning of a command that has one; empty if none has."""
    fitting = [name for name in reasons if command.startswith(name)]
    return reasons[max(fitting, key=len)] if fitting else ""
