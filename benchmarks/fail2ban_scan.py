"""Reads a log with Fail2ban's own filter engine, and says how long that took. Run by Debian's Python, which has it.

python3 fail2ban_scan.py CONFIG FILTER LOG [add]

Prints one JSON object. As fail2ban-regex does, lines go into `Filter.processLine`; with `add`, into
`processLineAndAdd`, which is what the server calls: it counts them per address as well.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

from fail2ban.client.filterreader import FilterReader
from fail2ban.helpers import extractOptions
from fail2ban.server.failmanager import FailManager
from fail2ban.server.filter import Filter


def load(config: str, reference: str) -> Filter:
    """The filter, set up by the commands that Fail2ban's client would send."""
    name, options = extractOptions(reference)
    reader = FilterReader(name, "bench", options, basedir=config)
    reader.read()
    reader.applyAutoOptions("polling")
    reader.getOptions(None)
    engine = Filter(None, useDns="no")
    engine.checkFindTime = False
    for command in reader.convert():
        key = command[2]
        values = command[3] if command[0] == "multi-set" else command[3:]
        for value in values:
            if key == "prefregex":
                engine.prefRegex = value
            elif key == "datepattern":
                engine.setDatePattern(value)
            elif key == "maxlines":
                engine.setMaxLines(value)
            elif key == "addfailregex":
                engine.addFailRegex(value)
            elif key == "addignoreregex":
                engine.addIgnoreRegex(value)
    return engine


def main() -> None:
    """Scan, then print."""
    config, reference, path = sys.argv[1:4]
    add = "add" in sys.argv[4:]
    logging.disable(logging.CRITICAL)
    engine = load(config, reference)
    engine.failManager = FailManager()
    engine.failManager.setMaxRetry(1 << 30)
    failures = 0
    begun = time.process_time()
    with Path(path).open(encoding="utf-8", errors="replace", newline="\n") as log:
        for line in log:
            if add:
                engine.processLineAndAdd(line.rstrip("\r\n"))
            else:
                failures += len(engine.processLine(line.rstrip("\r\n")))
    seconds = time.process_time() - begun
    if add:
        failures = engine.failManager.getFailTotal()
    print(json.dumps({"seconds": seconds, "failures": failures}))


main()
