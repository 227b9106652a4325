"""Fail2ban's socket protocol: pickles of plain data, read and written without creating any other object."""
