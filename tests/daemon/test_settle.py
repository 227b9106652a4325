"""Who orders by hand waits for the kernel; the state does not."""

import asyncio
import time

import pytest

from sipguard.daemon import bans as bans_module
from sipguard.daemon.bans import Bans
from sipguard.daemon.state_writer import StateWriter
from sipguard.errors import SipguardError
from sipguard.firewall.memory import MemoryFirewall
from sipguard.model import Ban

BAN = Ban("203.0.113.5", "sip", 1000.0, time.time() + 3600.0)


def test_an_unban_is_on_disk_before_the_kernel_has_answered(tmp_path, monkeypatch):
    """Killed while the firewall does not answer, the daemon must not ban again whom an operator has let through."""
    monkeypatch.setattr(bans_module, "PATIENCE", 0.01)

    async def run():
        store = StateWriter(tmp_path, clock=time.time)
        # Nobody runs the worker: what it is told stays queued, as with a kernel that does not answer.
        all_bans = Bans(MemoryFirewall(clock=time.time), store, {}, clock=time.time)
        all_bans.live.add(BAN)
        store.changes.bans[BAN.jail, BAN.address] = BAN
        assert store.save()
        assert store.database.bans(time.time()) == [BAN]
        all_bans.release([BAN])
        with pytest.raises(SipguardError, match="the firewall has not confirmed"):
            await all_bans.settle()
        left = store.database.bans(time.time())
        store.close()
        return left, all_bans.firewall_worker.queued

    assert asyncio.run(run()) == ([], 1)
