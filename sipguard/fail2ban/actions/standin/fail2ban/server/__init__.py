"""Stands in for Fail2ban's package of that name."""
