"""Lists of known attackers (APIBAN, block lists), kept in a local copy and loaded into the firewall as sets."""
