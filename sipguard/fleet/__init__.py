"""Bans shared with others: the nodes of a fleet over Redis or Valkey, and CrowdSec's local API. See docs/fleet.md."""
