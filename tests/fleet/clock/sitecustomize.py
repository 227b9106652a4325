"""Python imports this by itself where it is in the path: a process whose clock is wrong by so many seconds."""

import os
import time

_right, _wrong = time.time, float(os.environ.get("WRONG_CLOCK", "0"))


def _now():
    return _right() + _wrong


if _wrong:
    time.time = _now
