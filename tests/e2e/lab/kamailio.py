"""A real Kamailio with the lines of docs/kamailio.md, in the place of the lab's Asterisk; same hosts, same clients.

Its log is what a syslog daemon makes of what it sends to /dev/log: the traditional format, with the host's name added.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from pathlib import Path

from lab.asterisk_conf import EXTENSION, PASSWORD
from lab.chroot import LabUnavailableError, _locked, mirror
from lab.lab import PBX, Lab, _call

DOCS = Path(__file__).resolve().parents[3] / "docs" / "kamailio.md"

_CONFIG = """#!KAMAILIO
log_stderror=no
{prefix}
children=2
disable_tcp=yes
listen=udp:{pbx}:5060
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xlog.so"
loadmodule "auth.so"
loadmodule "textops.so"
loadmodule "textopsx.so"
loadmodule "siputils.so"
request_route {{
    if (!pv_www_authenticate("$td", "{password}", "0")) {{
        $var(rc) = $rc;
        if ($var(rc) == -2 || $var(rc) == -3 || $var(rc) == -8) {{
            {failed}
        }}
        www_challenge("$td", "1");
        exit;
    }}
    {succeeded}
    sl_send_reply("200", "OK");
}}
"""


def install_kamailio(cache: Path) -> None:
    """Have the chroot `kamailio` in the cache."""
    root, new = cache / "kamailio", cache / "kamailio.new"
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "kamailio.lock"):
        if (root / "usr/sbin/kamailio").exists():
            return
        shutil.rmtree(new, ignore_errors=True)
        with (cache / "debootstrap-kamailio.log").open("wb") as log:
            alone = ["unshare", "--mount", "--propagation", "private"]
            line = [*alone, "debootstrap", "--variant=minbase", "--include=kamailio", "bookworm", str(new), mirror()]
            done = subprocess.run(line, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            shutil.rmtree(new, ignore_errors=True)
            raise LabUnavailableError(f"debootstrap of kamailio failed (no network?); see {log.name}")
        new.rename(root)


def documented(word: str) -> str:
    """The xlog line of the documentation that has `word`."""
    return next(
        line.strip() for line in DOCS.read_text().splitlines() if f"sipguard: {word}" in line and "xlog" in line
    )


class KamailioLab(Lab):
    """As `Lab`, with one log: `syslog`. The right password is the extension's, for any user."""

    def __init__(self, cache: Path | None = None) -> None:
        super().__init__("sid", cache)
        self.suite = "kamailio"
        self.root = self.cache / "kamailio"
        self.home = self.root / "srv" / self.name

    def _install(self) -> None:
        install_kamailio(self.cache)

    def down(self) -> None:
        super().down()
        if (listener := getattr(self, "_listener", None)) is not None:
            listener.close()

    def _configure(self) -> None:
        (self.home / "dev").mkdir(parents=True)
        self.logs.mkdir()
        for name, minor in (("null", 3), ("urandom", 9), ("random", 8), ("zero", 5)):
            _call("mknod", "-m", "666", self.home / "dev" / name, "c", "1", str(minor))
        text = _CONFIG.format(
            pbx=PBX,
            prefix=next(line for line in DOCS.read_text().splitlines() if line.startswith("log_prefix=")),
            password=PASSWORD,
            failed=documented("auth-failed"),
            succeeded=documented("auth-ok"),
        )
        (self.home / "kamailio.cfg").write_text(text)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._listener.bind(str(self.home / "dev" / "log"))
        threading.Thread(target=self._write_syslog, args=(self._listener,), daemon=True).start()

    def _write_syslog(self, listener: socket.socket) -> None:
        """What rsyslog does with its default rules, its escapes for control characters included."""
        with self.log("syslog").open("a") as log:
            while True:
                try:
                    message = listener.recv(65_536).decode("utf-8", "replace")
                except OSError:
                    return
                parts = re.match(r"<\d+>(\w{3} [ \d]\d \d\d:\d\d:\d\d) (.*)", message.rstrip("\n\0"), re.DOTALL)
                if parts:
                    text = re.sub(r"[\x00-\x1f]", lambda match: f"#{ord(match[0]):03o}", parts[2])
                    log.write(f"{parts[1]} pbx {text}\n")
                    log.flush()

    def _start(self) -> None:
        mount = f"mount --bind {self.home}/dev {self.root}/dev"
        inside = f"{mount} && exec chroot {self.root} kamailio -DD -f /srv/{self.name}/kamailio.cfg"
        alone = ["unshare", "--mount", "--propagation", "private", "env", "TZ=UTC", "sh", "-c", inside]
        self._run_server(self.command("pbx", *alone), "Kamailio")


__all__ = ["EXTENSION", "KamailioLab"]
