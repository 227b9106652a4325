"""Runs Fail2ban's actions: shell commands and Python files."""
