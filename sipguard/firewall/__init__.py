"""Bans → the kernel: one file per backend, behind the protocol in `base`."""
