"""Commands are advised that this machine has."""

import pytest

from sipguard import service_manager


@pytest.mark.parametrize("there", [True, False])
def test_what_starts_the_service(monkeypatch, there):
    """No systemctl where there is no systemd."""
    monkeypatch.setattr(service_manager, "has_systemd", lambda: there)
    for enable in (True, False):
        assert ("systemctl" in service_manager.starting(enable=enable)) is there
