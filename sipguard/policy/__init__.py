"""Failures → bans: who is never banned, how many attempts are too many, and for how long."""
