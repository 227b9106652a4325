"""libnftables in process: what it does like the program `nft`, and what it must never do to the process that it is in."""

from __future__ import annotations

import gc
import sys
import threading
import time
from pathlib import Path

import pytest
from needs import needs

from sipguard.firewall import nft_run
from sipguard.firewall.libnftables import Libnftables
from sipguard.firewall.nft_run import NftError, NftRunner, fastest_runner
from sipguard.firewall.nftables import NftablesFirewall
from sipguard.model import Ban, PortRange, Rule
from tests.netns import namespace

SIP = Rule("asterisk", (PortRange(5060, 5061),), ("tcp", "udp"))
TABLE = "add table inet t\nadd set inet t s { type ipv4_addr; flags timeout; size 100000; }\n"


@pytest.fixture
@needs("root")
def net():
    with namespace("nft") as net, net.inside():
        yield net


@pytest.fixture
def library():
    library = Libnftables()
    yield library
    library.close()


def resident():
    """KiB of this process that are in memory."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_one_ban_starts_no_process(net, monkeypatch):
    """A ban, an unban and the making of the table go to the kernel from within; only lists are for the program."""
    firewall = NftablesFirewall(clock=time.time)
    firewall.open([SIP])
    firewall.ban([Ban("203.0.113.1", "asterisk", 0, time.time() + 600)])
    monkeypatch.setattr("sipguard.firewall.programs.run", lambda *_, **__: pytest.fail("a process was started"))
    firewall.ban([Ban("203.0.113.2", "asterisk", 0, time.time() + 600)])
    firewall.unban([Ban("203.0.113.1", "asterisk", 0, time.time() + 600)])
    monkeypatch.undo()
    assert [entry.address for entry in firewall.entries()] == ["203.0.113.2"]
    assert firewall.made_by_us(threading.get_native_id())
    assert not firewall.made_by_us(1)
    firewall.close()


def test_refusals_are_the_programs(net):
    """The same scripts give the same causes and words by either way."""
    answers = []
    for runner in (NftRunner(library=Libnftables()), NftRunner()):
        runner.run("add table inet t\ndelete table inet t\n" + TABLE)
        found = []
        for script in (
            "add element inet t s { 203.0.113.1 }\ncreate element inet t s { 203.0.113.1 }\n",
            "add element inet nothing s { 203.0.113.1 }\n",
            "add element inet t s { 203.0.113.1 timeout }\n",
            "no such command\n",
        ):
            with pytest.raises(NftError) as raised:
                runner.run(script)
            found.append((raised.value.cause, str(raised.value).replace("/dev/stdin:", "")))
        answers.append(found)
        runner.close()
    assert [cause for cause, _ in answers[0]] == [cause for cause, _ in answers[1]]
    assert [words for cause, words in answers[0] if cause != "other"] == [
        words for cause, words in answers[1] if cause != "other"
    ]


def test_a_refusal_leaves_nothing_behind(net, library):
    """Thousands of elements refused at once flood the socket with answers; the next script does not hear them."""
    assert library.run(TABLE).done
    same = ", ".join(f"10.1.{i // 250}.{i % 250}" for i in range(3000))
    assert library.run(f"create element inet t s {{ {same} }}\n").done
    for _ in range(3):
        assert not library.run(f"create element inet t s {{ {same} }}\n").done
        answer = library.run("add element inet t s { 203.0.113.9 }\n")
        assert answer.done, answer.complaint


@pytest.mark.root
def test_nothing_is_cut_off(library):
    """A NUL, at which C would stop reading, and what is not ASCII are refused; an empty script is done."""
    for script in ("add table inet t\0\n", "add table inet \N{GREEK SMALL LETTER ALPHA}\n"):
        with pytest.raises(ValueError, match=r"NUL|ascii"):
            library.run(script)
    with namespace("nft") as net, net.inside():
        assert library.run("").done
        assert net.run("nft", "list", "tables") == ""


def test_two_threads_at_once(net, library, monkeypatch):
    """A second thread is told, and does not enter."""
    assert library.run(TABLE).done
    assert library._inside.acquire()
    raised = []

    def other():
        with pytest.raises(RuntimeError, match="two threads") as error:
            library.run("add table inet other\n")
        raised.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    library._inside.release()
    assert raised
    assert "other" not in net.run("nft", "list", "tables")


def test_memory_and_descriptors(net, library):
    """20,000 bans, 2,000 refusals and 200 contexts: no more memory, no more descriptors than after the first of each."""
    assert library.run(TABLE).done

    def work(rounds):
        for i in range(rounds):
            element = f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255} timeout 0d600s0ms"
            assert library.run(f"add element inet t s {{ {element} }}\n").done
            if i % 10 == 0:
                assert not library.run("create element inet nothing s { 203.0.113.1 }\n").done
            if i % 100 == 0:
                library.close()

    work(500)
    gc.collect()
    memory, open_files = resident(), descriptors()
    work(20_000)
    gc.collect()
    assert resident() - memory < 512, "KiB"
    assert descriptors() == open_files


@pytest.mark.root
def test_no_descriptor_left(library):
    """libnftables ends the process when it gets no socket; ours is an error instead, and the daemon goes on."""
    script = """
import os, resource, sys
from sipguard.errors import FirewallError
from sipguard.firewall.nft_run import fastest_runner
runner = fastest_runner()
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
taken = []
try:
    while True: taken.append(os.open("/dev/null", 0))
except OSError: pass
try: runner.run("add table inet t\\n")
except FirewallError as error: print(error)
for one in taken: os.close(one)
runner.run("add table inet t\\n")
print("alive")
"""
    with namespace("nft") as net:
        told = net.run(sys.executable, "-c", script)
        assert told.splitlines() == [
            "cannot open a netlink socket for nf_tables: Too many open files",
            "alive",
        ]
        assert "table inet t" in net.run("nft", "list", "tables")


def test_not_installed(monkeypatch, caplog, net):
    """Without the library the program does it all; the log names the package."""
    monkeypatch.setattr(nft_run, "Libnftables", lambda: Libnftables("libnftables.so.99"))
    caplog.set_level("INFO")
    runner = fastest_runner()
    assert "libnftables1" in caplog.text
    runner.run(TABLE)
    assert "table inet t" in net.run("nft", "list", "tables")


def test_another_library(monkeypatch):
    """A library without the functions is refused at once, not at the first ban."""
    with pytest.raises(OSError, match="has no function nft_ctx_new"):
        Libnftables("libc.so.6")


def test_a_long_script_goes_to_the_program(net):
    """10,000 bans at once take their memory in a process of their own."""
    firewall = NftablesFirewall(clock=time.time)
    firewall.open([SIP])
    until = time.time() + 600
    firewall.ban([Ban(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", "asterisk", 0, until) for i in range(10_000)])
    assert len(firewall._nft.pids) > 1
    assert len(firewall.entries()) == 10_000
    firewall.close()
