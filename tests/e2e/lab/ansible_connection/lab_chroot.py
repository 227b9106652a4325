"""Ansible's way into a Debian of the lab: a connection plugin, so that ansible-core is enough and no collection is needed.

https://docs.ansible.com/ansible/latest/dev_guide/developing_plugins.html#connection-plugins. A host's name is its folder.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: lab_chroot
short_description: Commands in a folder, by chroot(8)
description: The name of the host is the folder.
options: {}
"""


class Connection(ConnectionBase):
    """Runs each command by chroot(8), and copies files by the folder."""

    transport = "lab_chroot"
    has_pipelining = True

    def _connect(self):
        self._connected = True
        return self

    def exec_command(self, cmd, in_data=None, sudoable=True):  # Ansible's own signature
        """Exit status, standard output and error."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        line = ["chroot", self._folder, "/bin/sh", "-c", cmd]
        done = subprocess.run(line, input=in_data or b"", capture_output=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path, out_path):
        """Copy into it."""
        super().put_file(in_path, out_path)
        self._within(out_path).write_bytes(Path(in_path).read_bytes())

    def fetch_file(self, in_path, out_path):
        """Copy out of it."""
        super().fetch_file(in_path, out_path)
        Path(out_path).write_bytes(self._within(in_path).read_bytes())

    def close(self):
        """Nothing is held open."""
        self._connected = False

    @property
    def _folder(self):
        return self._play_context.remote_addr

    def _within(self, path):
        return Path(self._folder) / shlex.split(path)[0].lstrip("/")
