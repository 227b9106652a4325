"""Reads configuration into the model: TOML jails, filter.d files, and their values (durations, addresses, ports)."""
