"""The daemon, as `python -m sipguard`, with a wire that knows all from the start: five minutes are too long for a demo."""

from __future__ import annotations

import runpy

from sipguard.daemon import wire

if __name__ == "__main__":
    wire.START = -wire.START
    runpy.run_module("sipguard", run_name="__main__", alter_sys=True)
