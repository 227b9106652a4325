"""Reads a daemon's metrics as Prometheus does."""

from __future__ import annotations

import urllib.request


def scrape(where):
    """The text that is served at HOST:PORT."""
    with urllib.request.urlopen(f"http://{where}/metrics", timeout=20) as answer:
        return answer.read().decode()
