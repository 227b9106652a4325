"""Fail2ban's action files at work: commands of a shell, and actions that are Python files."""
