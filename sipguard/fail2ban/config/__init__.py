"""A whole Fail2ban tree (`/etc/fail2ban`) → frozen dataclasses: what its client would send to its server, resolved."""
