"""What holds for every test."""

import time

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, or takes to be made up, says how busy the machine is, not whether the code is right; pytest's
# own limit ends what hangs.
settings.register_profile("sipguard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sipguard")


@pytest.fixture
def zurich(monkeypatch):
    """The machine stands in Zurich, where Fail2ban's samples are from."""
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
