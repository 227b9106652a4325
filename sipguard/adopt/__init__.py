"""Taking over from a running Fail2ban, and going back, with nobody unprotected in between."""
