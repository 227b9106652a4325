"""What an option of a filter, or an unsafe log, does; and that it is told of."""

from __future__ import annotations

import pytest
from server_lines import (
    ATTACKER,
    UUID,
    VICTIM,
    asterisk,
    chan_sip,
    failure,
    freeswitch_file,
    iax2,
    notice,
    to_extension,
)
from strangers import (
    FORGED,
    NOTICE_CHANGED,
    accused,
    advised,
)


def iax2_another_line():
    """A peer's name with a line feed, and a line of the same kind behind it."""
    return iax2({"number": f"x\n[Jan 15 10:20:30] WARNING[1] chan_iax2.c: Host {VICTIM}:1 failed to authenticate as y"})


def number_another_line():
    """A number that is called, with a line between two line feeds: 79 characters are enough."""
    return to_extension({"number": f"\n[Jan 15 10:20:30] NOTICE[1] chan_iax2.c: Empty registration from {VICTIM}\n"})


@pytest.mark.parametrize(
    ("reference", "write"),
    [
        pytest.param("asterisk[log=notice]", lambda: notice(NOTICE_CHANGED), id="log=notice"),
        pytest.param("asterisk[log=all]", lambda: notice(NOTICE_CHANGED), id="log=all"),
        pytest.param(
            "asterisk[channels=sip]",
            lambda: chan_sip({"display": f"x' failed for '{VICTIM}:5060' - No m\x1b"}),
            id="channels=sip",
        ),
        pytest.param("asterisk[channels=iax2]", iax2_another_line, id="channels=iax2"),
        pytest.param("asterisk[mode=scan]", number_another_line, id="mode=scan"),
    ],
)
def test_risk_of_an_option_another_can_be_accused(reference, write):
    """What docs/logs.md says of these options, and that the filter without them accuses nobody else."""
    assert VICTIM in accused(reference, write())[0]
    assert accused("asterisk", write())[0] <= {ATTACKER}


def test_unsafe_log_of_asterisk_with_more_than_security_events(tmp_path):
    """AMI over HTTP, IAX2 with authdebug: whole lines by line feeds, believed; `check` warns of such a log."""
    log = asterisk("NOTICE", "manager.c", f"{ATTACKER} failed to authenticate as 'x'\n{FORGED}'")
    assert accused("asterisk", log)[0] == {VICTIM}
    assert "callers can write whole lines into it" in advised("asterisk", log, tmp_path)


@pytest.mark.parametrize(
    "message",
    [
        "[INFO] sofia.c:10472 sofia/internal/{} receiving invite from 203.0.113.66:5060 version: 1 call-id: x",
        f"[WARNING] switch_core_state_machine.c:684 {UUID} sofia/internal/{{}} Abandoned",
    ],
    ids=["level info", "level warning"],
)
def test_unsafe_log_of_freeswitch_with_calls_without_their_uuid(message, tmp_path):
    """With `uuid` false a call's name can begin a line; `check` warns of such a log. With the UUID it accuses nobody."""
    forged = freeswitch_file([f"{failure({'user': '1', 'host': 'x'})[0]}"]).replace(ATTACKER, VICTIM)
    log = freeswitch_file([message.format(f"1\n{forged}@x")])
    assert accused("freeswitch", log)[0] == {VICTIM}
    assert "set `uuid` to true" in advised("freeswitch", log, tmp_path)
    with_uuid = "".join(f"{UUID} {line}\n" for line in log.splitlines())
    assert accused("freeswitch", with_uuid)[0] == set()
    given = advised("freeswitch", with_uuid, tmp_path)
    assert "set `uuid` to true" not in given
    assert "calls stand in this log" in given
