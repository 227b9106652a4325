"""Stops and starts Fail2ban and sipguard, through systemd if it runs, else with commands."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sipguard.errors import SipguardError
from sipguard.service_manager import has_systemd

DROP_IN = Path("/etc/systemd/system/sipguard.service.d/adopted.conf")
PATIENCE = 120.0
"""Seconds to wait for a service to start or stop: Fail2ban with many bans is slow."""

Command = Sequence[str]


@dataclass(frozen=True, slots=True)
class Services:
    """The commands of this machine; empty ones use this module's defaults."""

    fail2ban_dir: Path
    socket: Path
    """sipguard's control socket."""
    run: Command
    """`sipguard run` with its options."""
    stop_fail2ban: Command = ()
    start_fail2ban: Command = ()
    stop_sipguard: Command = ()
    start_sipguard: Command = ()

    def fail2ban_runs(self) -> bool:
        """Whether Fail2ban answers. Raises `SipguardError` if it is there and gives no answer."""
        return self._asked("ping") is not None

    def banned_by_fail2ban(self, jail: str) -> set[str]:
        """The addresses that one of its jails has banned. Raises `SipguardError` if it gives no answer."""
        return set((self._asked("get", jail, "banip") or "").split())

    def sipguard_pid(self) -> int | None:
        """Process id of the daemon on sipguard's socket (SO_PEERCRED, unix(7)); None if nobody answers."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            try:
                sock.connect(str(self.socket))
            except OSError:
                return None
            return int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])

    def plan_stop_fail2ban(self) -> str:
        """Command that will stop Fail2ban, for messages."""
        return shlex.join(self._stop_fail2ban())

    def plan_start_sipguard(self) -> str:
        """Command that will start sipguard, for messages."""
        systemd = f"systemctl enable --now sipguard.service, with {DROP_IN}"
        return shlex.join(self.start_sipguard) or (systemd if has_systemd() else f"{shlex.join(self.run)} &")

    def down_fail2ban(self) -> None:
        """Stop Fail2ban and wait until it is gone. Raises `SipguardError`."""
        _run(self._stop_fail2ban())
        _wait(lambda: not self.fail2ban_runs(), "Fail2ban is still running")

    def up_fail2ban(self) -> None:
        """Start Fail2ban and wait until it answers. Raises `SipguardError`."""
        by_systemd = has_systemd() and ["systemctl", "enable", "--now", "fail2ban.service"]
        _run(self.start_fail2ban or by_systemd or [*self._client(), "start"])
        _wait(self.fail2ban_runs, "Fail2ban does not answer")

    def up_sipguard(self) -> None:
        """Start sipguard and wait until it answers. Raises `SipguardError`."""
        if self.start_sipguard:
            _run(self.start_sipguard)
        elif has_systemd():
            DROP_IN.parent.mkdir(parents=True, exist_ok=True)
            DROP_IN.write_text(_drop_in(self.run), encoding="utf-8")
            _run(["systemctl", "daemon-reload"])
            _run(["systemctl", "enable", "--now", "sipguard.service"])
        else:
            quiet = subprocess.DEVNULL
            subprocess.Popen(self.run, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        _wait(lambda: self.sipguard_pid() is not None, "sipguard does not answer")

    def down_sipguard(self) -> None:
        """Stop sipguard and wait until it is gone; its bans stay in the kernel. Raises `SipguardError`."""
        pid = self.sipguard_pid()
        if self.stop_sipguard:
            _run(self.stop_sipguard)
        elif has_systemd():
            _run(["systemctl", "disable", "--now", "sipguard.service"])
            DROP_IN.unlink(missing_ok=True)
            _run(["systemctl", "daemon-reload"])
        elif pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        _wait(lambda: self.sipguard_pid() is None, "sipguard is still running")

    def _asked(self, *words: str) -> str | None:
        """What fail2ban-client prints; None if it fails or is not there."""
        question = [*self._client(), *words]
        try:
            done = subprocess.run(question, capture_output=True, text=True, check=False, timeout=PATIENCE)
        except FileNotFoundError:
            return None
        except subprocess.TimeoutExpired:
            raise SipguardError(f"{shlex.join(question)}: no answer within {PATIENCE:g} s") from None
        return done.stdout if done.returncode == 0 else None

    def _stop_fail2ban(self) -> Command:
        by_systemd = has_systemd() and ["systemctl", "disable", "--now", "fail2ban.service"]
        return self.stop_fail2ban or by_systemd or [*self._client(), "stop"]

    def _client(self) -> list[str]:
        return ["fail2ban-client", "-c", str(self.fail2ban_dir)]


def own_program() -> list[str]:
    """The command line of this sipguard."""
    installed = Path("/usr/bin/sipguard")
    return [str(installed)] if has_systemd() and installed.exists() else [sys.executable, "-m", "sipguard"]


def _drop_in(command: Command) -> str:
    # As root: the commands of a Fail2ban tree (mail, the operator's programs) were written for root. `~` alone grants all
    # capabilities, and the next line removes some; an empty value would grant none (systemd.exec(5)).
    return (
        "# Written by `sipguard adopt`; `sipguard adopt --undo` removes it.\n"
        f"[Service]\nExecStart=\nExecStart={shlex.join(command)}\nRestart=on-failure\nUser=root\nGroup=root\n"
        "ProtectSystem=full\nNoNewPrivileges=no\nRestrictSUIDSGID=no\nAmbientCapabilities=\nCapabilityBoundingSet=~\n"
        "CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_BOOT CAP_SYS_TIME CAP_MAC_ADMIN\n"
        "SystemCallFilter=\nSystemCallFilter=@system-service\nRuntimeDirectory=sipguard fail2ban\n"
    )


def _run(command: Command) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except FileNotFoundError:
        raise SipguardError(f"{command[0]}: no such program; name the right one with an option") from None
    except subprocess.TimeoutExpired:
        raise SipguardError(f"{shlex.join(command)}: took longer than {PATIENCE:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise SipguardError(f"{shlex.join(command)}: exit status {done.returncode}: {said[-1]}")


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise SipguardError(f"{otherwise} after {PATIENCE:g} s")
        time.sleep(0.1)
