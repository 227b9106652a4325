"""The documentation's commands that take a machine of their own, each as it is written, in a fresh Debian with systemd."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from documented import STEPS

PROJECT = Path(__file__).parents[2]
NEEDED = "sqlite3 jq fail2ban redis-server conntrack"
IN = "set +e; cd /srv/docs; export TERM=xterm-256color"
LOGS = {"asterisk22-security.log": "asterisk/security.log", "freeswitch-warning.log": "freeswitch/freeswitch.log"}


def _prepare(machine, packages, folder):
    """A machine with two PBXs' files and logs, Fail2ban, Redis, and our packages in /srv."""
    machine.go_online()
    script = f"""
        echo 'APT::Get::Assume-Yes "true";' > /etc/apt/apt.conf.d/90yes
        apt-get update -qq
        touch /var/log/auth.log
        apt-get install -qq --no-install-recommends {NEEDED}
        systemctl start redis-server fail2ban
        mkdir -p /srv/docs /var/log/asterisk /var/log/freeswitch
    """
    try:
        machine.run(script, online=True, timeout=400)
    except AssertionError as error:
        pytest.skip(f"Debian's mirror gives not what is needed: {str(error)[-200:]}")
    for name in ("freeswitch-vanilla", "asterisk-debian"):
        archive = folder / f"{name}.tar"
        subprocess.run(["tar", "-C", PROJECT / "fixtures/machines" / name, "-cf", archive, "usr", "etc"], check=True)
        machine.take(archive)
        machine.run(f"tar -C / -xf /srv/{archive.name} --no-same-owner; chmod 755 /usr /usr/bin /usr/sbin /etc")
    machine.run("chmod -R o= /etc/freeswitch")
    machine.take(*packages, *(PROJECT / "fixtures/logs" / sample for sample in LOGS))
    for sample, log in LOGS.items():
        machine.run(f"cp /srv/{sample} /var/log/{log}")


def _line(step):
    """What a shell is given."""
    line = step.command
    for word, value in step.given:
        line = line.replace(word, value)
    if step.lasts:
        line = f"timeout -s {'INT' if step.typed is None else 'TERM'} -k 5 --foreground 8 {line}"
    else:
        line = f"timeout --foreground 90 sh -c {shlex.quote(line)}"  # what hangs is told as well
    if step.typed is not None:
        line = f"printf {shlex.quote(step.typed)} | script -qec {shlex.quote(line)} /dev/null"
    return line


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_command_is_run(packages, machine, tmp_path):
    """Each says what it should, with its exit status; all that do not are told together."""
    _prepare(machine, packages, tmp_path)
    wrong = []
    for step in STEPS:
        script = f'{IN}\n{step.before}\n{_line(step)}\necho "[exit status $?]"; exit 0'
        said = machine.run(script, online=step.online)
        print(f"$ {step.command}\n{said}")
        statuses = (0, 124, 130, 137, 143) if step.lasts else (step.status,)
        if step.expected not in said or not any(f"[exit status {one}]" in said for one in statuses):
            wrong.append(f"$ {step.command}\n{said}")
    assert not wrong, "\n".join(wrong)
