"""Another program flushes the firewall: others' bans are back at once, from memory, with nftables and with ipset."""

from __future__ import annotations

import subprocess

import pytest

from tests.fleet.conftest import need_redis, serving
from tests.fleet.test_daemons import node
from tests.netns import namespace


@pytest.mark.root
@pytest.mark.parametrize("firewall", ["nftables", "ipset"])
def test_a_foreign_flush(tmp_path, firewall):
    """A ban heard of, a flush, the ban again without a word from Redis; an unban still takes it out."""
    need_redis()
    with namespace("nft", "ipset", "iptables") as net:
        inside = ("ip", "netns", "exec", net.name)
        with (
            serving(tmp_path / "redis", port=6379, prefix=inside) as redis,
            node(tmp_path, redis.url, "pbx1", prefix=inside) as one,
            node(tmp_path, redis.url, "pbx2", firewall=firewall, prefix=inside) as two,
        ):
            two.wait_for(lambda: two.knows("pbx1"), "the other node")
            one.attack("203.0.113.5")

            def rejected():
                command = ["nft", "list", "ruleset"] if firewall == "nftables" else ["ipset", "save"]
                return "203.0.113.5 " in net.run(*command)

            two.wait_for(rejected, "the other's ban")
            for command in (["nft", "flush", "ruleset"], ["iptables", "-F"]):
                subprocess.run([*inside, *command], check=True)
            two.wait_for(
                lambda: rejected() and not two.sipguard("firewall", "verify", check=False).returncode, "it is back"
            )
            one.sipguard("unban", "203.0.113.5")
            two.wait_for(lambda: not rejected(), "its end")
