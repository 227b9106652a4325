"""A file that ends within a line, as after a crash or on a full disk, and is rotated: that line is nobody's."""

import json

import pytest
from server_lines import ATTACKER, VICTIM, event, freeswitch_file, unknown
from strangers import detector

from sipguard.detection.detector import Detector
from sipguard.model import Failure, Filter
from sipguard.sources.tail import Tail


def sofia(fields):
    """As mod_logfile writes it."""
    return freeswitch_file(unknown({"user": "1", "realm": "b", **fields}))


PEER = f'",LocalAddress="IPV4/UDP/192.0.2.10/5060",RemoteAddress="IPV4/UDP/{VICTIM}/5060"'
LOGS = {
    "Asterisk": ("asterisk", event("InvalidAccountID", {"account": "1", "callid": PEER}), 'RemoteAddress="IPV4/UDP/'),
    "FreeSWITCH": ("freeswitch", sofia({"realm": f"x] from {VICTIM}"}), VICTIM),
    "FreeSWITCH, a fold": ("freeswitch", sofia({"realm": f"x] from {VICTIM}\r\n y"}), "\r\n y"),
}


def hosts(reference, *pieces):
    """Whom these pieces of a log accuse, and how much of it was not what it seemed."""
    reader = detector(reference)
    seen = [one for piece in pieces for one in reader.events(piece)] + reader.flush()
    return [one.host for one in seen if isinstance(one, Failure)], reader.counts.tampered


@pytest.mark.parametrize("kind", LOGS)
def test_what_it_ends_in(kind):
    """Wherever that is; what was whole before it counts, and what the next file begins with."""
    reference, line, part = LOGS[kind]
    honest = line.replace(VICTIM, "x").encode()
    place = line.index(part) + len(part)
    assert hosts(reference, honest) == ([ATTACKER], 0)
    for end in range(place, line.index(ATTACKER, place)):
        assert hosts(reference, honest + line[:end].encode(), honest)[0] == [ATTACKER] * 2
    assert hosts(reference, honest + line[:place].encode())[1]


def test_in_a_container():
    """Of Docker's log, whose lines are JSON."""
    reference, line, _ = LOGS["Asterisk"]
    wrapped = f'{{"log":{json.dumps(line)},"stream":"stdout","time":"2026-01-15T10:20:30Z"}}\n'.encode()
    assert hosts(reference, wrapped + wrapped[:-30], wrapped)[0] == [ATTACKER] * 2


def test_from_the_file(tmp_path):
    """Only once the file was rotated is it known that no more of the line comes."""
    reference, line, part = LOGS["Asterisk"]
    path = tmp_path / "security"
    tail = Tail(str(path))
    place = line.index(part) + len(part) + len(f"{VICTIM}/5060")
    path.write_text(line + line[: place + 1])
    first = tail.read()
    assert first is not None
    assert first.data == line.encode()
    path.rename(tmp_path / "security.1")
    path.write_text(line)
    chunks = [first, *(chunk for chunk in iter(tail.read, None) if chunk.data)]
    tail.close()
    assert [chunk.data[-1:] == b"\n" for chunk in chunks] == [True, False, True]
    assert hosts(reference, *(chunk.data for chunk in chunks))[0] == [ATTACKER] * 2


def test_other_servers():
    """They write a line at a time, and the last one of a text may lack its end."""
    line = f"Jan 15 10:20:30 pbx sshd[1]: Invalid user x from {ATTACKER} port 5\n".encode()
    reader = Detector(Filter("other", ("Invalid user .* from <HOST> port",)), timezone="UTC")
    assert [one.host for one in reader.feed(line + line[:-1])] == [ATTACKER] * 2
