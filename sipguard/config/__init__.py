"""Files → model: TOML jails (native), filter.d files, and the values in them (durations, addresses, ports)."""
