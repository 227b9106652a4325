"""Whatever a stranger writes into the fields of a request, FreeSWITCH's log accuses nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_lines import (
    ATTACKER,
    VICTIM,
    failure,
    freeswitch_file,
    freeswitch_syslog,
    invite,
    mod_fail2ban,
    unknown,
)
from strangers import (
    accused,
    any_text,
    folded,
    plain,
)

SOFIA = st.fixed_dictionaries({"user": folded, "host": folded, "realm": folded})


@pytest.mark.parametrize("mode", ["normal", "aggressive"])
@pytest.mark.parametrize("write", [freeswitch_file, freeswitch_syslog], ids=["file", "syslog"])
@given(fields=SOFIA, shapes=st.lists(st.sampled_from([failure, unknown]), min_size=1, max_size=4))
def test_freeswitch_accuses_the_socket_or_nobody(mode, write, fields, shapes):
    """Random users, hosts and realms, folded headers included."""
    log = write([message for shape in shapes for message in shape(fields)])
    assert accused(f"freeswitch[mode={mode}]", log)[0] <= {ATTACKER}


@given(
    fields=st.fixed_dictionaries(
        {"channel": any_text, "callid": plain, "user": folded, "host": folded, "realm": folded}
    ),
    padding=st.integers(1700, 2100),
)
def test_freeswitch_lines_that_were_cut_accuse_the_socket_or_nobody(fields, padding):
    """A session's line cut at its limit, and a true failure glued to it, in a log with `uuid=true`."""
    long = {**fields, "callid": "e" * padding + fields["callid"]}
    log = invite(long) + freeswitch_file(failure(fields)) + invite(fields) + freeswitch_file(unknown(fields))
    assert accused("freeswitch", log)[0] <= {ATTACKER}


@pytest.mark.parametrize("longest", [8192, 2048, 1024])
@pytest.mark.parametrize(
    ("shape", "name"),
    [
        pytest.param(failure, "host", id="wrong password"),
        pytest.param(unknown, "user", id="unknown user"),
        pytest.param(unknown, "realm", id="unknown user, realm"),
    ],
)
def test_a_line_that_syslog_has_cut_behind_a_forged_address(shape, name, longest):
    """Daemons of syslog cut what is longer than they like: the address at the end of such a line is a caller's."""
    forged = f"@x] from ip {VICTIM}" if shape is failure else f"@x] from {VICTIM}"
    fields = {"user": "1", "host": "x", "realm": "y"}
    short = freeswitch_syslog(shape({**fields, name: forged}))
    filler = "a" * (longest - short.index(VICTIM) - len(VICTIM))
    cut = freeswitch_syslog(shape({**fields, name: filler + forged}), longest)
    assert cut.endswith(f"{VICTIM}\n")
    hosts, tampered = accused("freeswitch", cut)
    assert not hosts
    assert tampered == 1


@pytest.mark.parametrize("write", [freeswitch_file, freeswitch_syslog], ids=["file", "syslog"])
def test_long_names_that_are_whole_count(write):
    """As long as nobody cuts them: 600 characters in syslog, 5,000 in a file."""
    fields = {"user": "u" * (5000 if write is freeswitch_file else 600), "host": "x", "realm": "y"}
    assert accused("freeswitch", write(failure(fields)))[0] == {ATTACKER}


@given(fields=st.fixed_dictionaries({"user": folded}))
def test_mod_fail2ban_accuses_the_socket_or_nobody(fields):
    """Its file has no header: the address is the last one of a line that is whole."""
    assert accused("freeswitch", mod_fail2ban(fields) * 2)[0] <= {ATTACKER}
