"""Takes over from a running Fail2ban, or goes back to it, without any gap in protection."""
