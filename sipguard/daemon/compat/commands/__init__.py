"""The commands of fail2ban-client, as its server answers them."""
