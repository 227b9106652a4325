"""fail2ban-client: the same commands, output and exit status."""
