"""`sipguard test-action`: what an action would do, and that it does it only if asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toml
from command_line import sipguard

ROOT = Path(__file__).parents[2]

OWN = """[Definition]
actionstart = touch {folder}/started
actionban = echo "<ip> <family> <matches>" >> {folder}/noted; echo key <apikey>
actionunban = exit <status>
[Init]
status = 0
apikey = s3cretkey
"""


@pytest.fixture
def tree(tmp_path):
    """A Fail2ban tree with an action of our own in one jail."""
    for name in ("action.d", "filter.d"):
        (tmp_path / name).mkdir()
    (tmp_path / "action.d" / "own.conf").write_text(OWN.format(folder=tmp_path))
    (tmp_path / "filter.d" / "own.conf").write_text("[Definition]\nfailregex = ^x <HOST>$\n")
    (tmp_path / "jail.conf").write_text(
        f"[sip]\nenabled = true\nfilter = own\nlogpath = {tmp_path}/log\naction = own[apikey=an0ther]\n"
    )
    return tmp_path


def test_shows(tree):
    """Commands and variables, without secrets; nothing is run."""
    done = sipguard("test-action", "own", "--fail2ban-dir", tree, "--ip", "2001:db8::7")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"start:\n  $ touch {tree}/started\n"
        "ban:\n  f2bV_matches=a line of the log with 'quotes' and $(more)\n"
        f'  $ echo "2001:db8::7 inet6 $f2bV_matches" >> {tree}/noted; echo key ***\n'
        "unban:\n  $ exit 0\nstop: nothing\n"
    )
    assert not (tree / "started").exists()


def test_runs(tree):
    """With --run it does what it says, and shows what was printed."""
    done = sipguard("test-action", "own", "--fail2ban-dir", tree, "--jail", "sip", "--run")
    assert done.returncode == 0, done.stderr
    assert (tree / "noted").read_text() == "203.0.113.7 inet4 a line of the log with 'quotes' and $(more)\n"
    assert done.stdout.count("  done\n") == 3
    assert "s3cret" not in done.stdout


def test_failure(tree):
    """What fails is told, and is the exit status."""
    done = sipguard("test-action", "own[status=3]", "--fail2ban-dir", tree, "--run")
    assert done.returncode == 1
    assert "failed: actionunban of 203.0.113.7: exit status 3" in done.stdout


WRONG = {
    "no such file": (["nonesuch"], "NAME: there is no action 'nonesuch' in "),
    "no such jail": (["own", "--jail", "x"], "no jail 'x' is enabled; enabled are sip"),
    "no such action": (["x", "--jail", "sip"], "jail sip has no action 'x'; it has own"),
    "no address": (["own", "--ip", "a.example.com"], "--ip 'a.example.com' is not an address"),
}


@pytest.mark.parametrize(("arguments", "error"), WRONG.values(), ids=WRONG)
def test_wrong_call(tree, arguments, error):
    """One line, exit status 2."""
    done = sipguard("test-action", *arguments, "--fail2ban-dir", tree)
    assert done.returncode == 2
    assert done.stderr.startswith(f"sipguard: {error}")
    assert done.stderr.count("\n") == 1


def test_native(tmp_path):
    """An action of a native jail; its secrets are not shown by this command or by check."""
    program = tmp_path / "told"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/noted\n")
    program.chmod(0o755)
    actions = [
        {"type": "exec", "command": [str(program), "a b"]},
        {"type": "webhook", "url": "https://example.com/t0ken", "secret": "s3cret", "headers": {"Key": "k3y"}},
        {"type": "mail", "to": "ops@example.com", "user": "ban", "password": "p4ss"},
    ]
    (tmp_path / "jails.d").mkdir()
    jail = {"enabled": True, "logpath": "/dev/null", "actions": actions}
    (tmp_path / "jails.d" / "asterisk.toml").write_text(toml.dumps(jail))
    config = tmp_path / "sipguard.toml"
    config.write_text("")
    shown = [sipguard("test-action", name, "--jail", "asterisk", "-c", config) for name in ("exec", "webhook", "mail")]
    assert [one.returncode for one in shown] == [0, 0, 0], [one.stderr for one in shown]
    call, _, given = next(line for line in shown[0].stdout.splitlines() if str(program) in line).partition(" <<< ")
    assert call.strip() == f"{program} 'a b'"
    assert json.loads(given)["address"] == "203.0.113.7"
    request = shown[1].stdout
    assert "  POST https://example.com/…\n" in request
    assert "  Key: ***\n" in request
    assert "  X-Sipguard-Signature: ***\n" in request
    assert json.loads(request[request.index("{") : request.rindex("}") + 1])["address"] == "203.0.113.7"
    mail = shown[2].stdout
    assert "  To: ops@example.com\n" in mail
    assert "rejects 203.0.113.7\n" in mail
    assert "a line of the log with 'quotes' and $(more)" in mail
    dumped = sipguard("check", "-c", config, "--dump").stdout
    assert '"type": "webhook"' in dumped
    every = dumped + "".join(one.stdout for one in shown)
    assert not [secret for secret in ("t0ken", "s3cret", "k3y", "p4ss") if secret in every]
    done = sipguard("test-action", "exec", "--jail", "asterisk", "-c", config, "--run")
    assert done.returncode == 0, done.stdout
    assert json.loads((tmp_path / "noted").read_text())["address"] == "203.0.113.7"
