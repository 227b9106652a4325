"""Finds the SIP servers of a machine and proposes what protects them; writes it, and takes it back."""
