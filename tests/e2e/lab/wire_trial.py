"""What the trials over HEP and those by packets alone share: the servers, who attacks them, and what is counted of it."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.asterisk_conf import PASSWORD
from lab.lab import LabUnavailableError

METHODS = ("REGISTER", "INVITE", "SUBSCRIBE", "MESSAGE")
VICTIM, OTHER = "198.51.100.90", "198.51.100.91"
_LEAST, _ROUNDS = 8, 60
"""Rounds of questions before it is looked whether the nonces prove what they can, and at most."""
FORGED = 500
"""Of each kind: a thousand in all."""


def serving(make, which):
    """A running server, or the reason why there is none."""
    try:
        with make(which) as running:
            yield running
    except LabUnavailableError as reason:
        pytest.skip(str(reason))


def asked_before(make, which):
    """A running server that phones and others have asked for some nonces within a second."""
    for one in serving(make, which):
        for number in range(_ROUNDS):
            with ThreadPoolExecutor() as pool:  # within a second, on a busy machine too
                for host in ("phone", "atk"):
                    pool.submit(one.client, host, "guess", 1, "REGISTER", "udp", "1000", PASSWORD)
            if number >= _LEAST and [each["evidence"] for each in one.attempts()][-1:] == [one.evidence]:
                break
        yield one


def is_nearly(counted, made):
    """Whether at least 99 % and at most 101 % were counted."""
    return made * 0.99 <= counted <= made * 1.01


class Since:
    """What is counted from here on."""

    def __init__(self, lab):
        self._lab = lab
        self._before = lab.counted()

    def counted(self):
        """(address, source where it is another, verdict, evidence) → how often; no logins."""
        found = self._lab.counted() - self._before
        return Counter({key: count for key, count in found.items() if key[2] != "success"})
