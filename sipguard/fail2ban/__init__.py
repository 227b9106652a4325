"""Fail2ban's side of sipguard, except what needs the daemon: reads its configuration, runs its actions, speaks its protocol."""
