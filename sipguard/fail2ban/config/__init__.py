"""Reads a Fail2ban tree (`/etc/fail2ban`) into frozen dataclasses: what its client would send to its server."""
