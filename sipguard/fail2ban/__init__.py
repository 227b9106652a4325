"""Speaks Fail2ban's own protocol, as server and as client, so that its client, exporters and panels go on working."""
