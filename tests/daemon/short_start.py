"""Runs sipguard with a wire that knows all from the start: `python short_start.py PYTHON -m sipguard …`."""

import runpy
import sys

from sipguard.daemon import wire

wire.START = -3600.0  # five minutes are too long for a test
sys.argv = sys.argv[3:]
runpy.run_module("sipguard", run_name="__main__", alter_sys=True)
