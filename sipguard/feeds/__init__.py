"""Addresses that others know to attack: APIBAN and block lists, kept in a local copy and given to the firewall as sets."""
