"""sipguard and Debian's Fail2ban side by side, on the same files, in the same run: `python -m benchmarks [ROW…]`."""
