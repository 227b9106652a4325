"""sipguard reads the logs of SIP servers and rejects, for a limited time, the addresses that attack them.

The way of a line: `sources` → `detection` → `policy` → `firewall` and `actions`, with `state` keeping what must survive a
crash. The stages share the nouns in `model` and know nothing of each other; `daemon` alone joins them.
"""

__version__ = "0.1.0"
