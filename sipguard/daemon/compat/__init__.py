"""Fail2ban's server on top of the daemon: its socket, its commands, its database file."""
