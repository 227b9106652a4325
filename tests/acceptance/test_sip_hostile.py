"""Whatever a stranger writes into the fields of a request, Asterisk's log accuses nobody else.

The models in `server_lines` write lines as the servers do.
Filters stand here as they come. What their options and what unsafe logs risk is in test_sip_risks.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_lines import (
    ASTERISK,
    ATTACKER,
    PBX,
    VICTIM,
    event,
    failed_response,
    manager,
    notice,
)
from strangers import (
    AMI_EVENT,
    AMI_TAIL,
    ANOTHER_LINE,
    FIELDS,
    NOTICE_CHANGED,
    accused,
    detector,
    filters,
)

from sipguard.policy.attempts import Attempts


@pytest.mark.parametrize("reference", ["asterisk", "asterisk[mode=scan]", "asterisk[mode=aggressive]"])
@given(fields=st.fixed_dictionaries(FIELDS), shapes=st.lists(st.sampled_from(sorted(ASTERISK)), min_size=1, max_size=4))
def test_asterisk_accuses_the_socket_or_nobody(reference, fields, shapes):
    """Random hostile fields, ESC and line feeds among them, through every line that Asterisk has for them.

    Without line feeds in numbers and peers for scan and aggressive, which read NOTICE lines; see the risks below.
    """
    if reference != "asterisk":
        fields = {**fields, "number": fields["number"].replace("\n", "")}
    log = "".join(ASTERISK[shape](fields) for shape in shapes)
    assert accused(reference, log)[0] <= {ATTACKER}


@pytest.mark.parametrize("reference", ["asterisk", "asterisk[mode=scan]", "asterisk[mode=aggressive]"])
@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(AMI_EVENT + AMI_TAIL, id="answer"),
        pytest.param(AMI_EVENT + 'Challenge="1",Response="2",ExpectedResponse="3"', id="whole answer"),
        pytest.param(AMI_EVENT + AMI_TAIL + "\x1b", id="answer, ESC"),
        pytest.param(
            AMI_EVENT.replace("ChallengeResponseFailed", "RequestNotAllowed") + 'RequestType="a', id="request"
        ),
        pytest.param(f"m manager.c: {VICTIM} failed to authenticate as 'x", id="notice"),
    ],
)
def test_an_account_whose_line_feed_begins_another_event(reference, forged):
    """The account's name begins a line, the Call-ID goes on with it; the true address still ends it."""
    fields = {"account": ANOTHER_LINE, "callid": forged}
    assert accused(reference, event("InvalidAccountID", fields))[0] <= {ATTACKER}


@pytest.mark.parametrize("shape", ["notice", "notice-password", "manager-notice", "chan_sip", "iax2"])
def test_no_notice_counts_by_default(shape):
    """Not even an honest one: it cannot be told from one that was changed."""
    honest = {"display": "a", "method": "REGISTER", "user": "1", "callid": "c", "number": "1"}
    write = {**ASTERISK, "manager-notice": lambda fields: manager(fields).splitlines(keepends=True)[0]}[shape]
    assert accused("asterisk", write(honest))[0] == set()
    assert accused("asterisk[log=all, channels=all]", write(honest))[0] == {ATTACKER}


def test_a_notice_that_an_esc_has_changed_does_not_count_beside_security_events():
    """With log=all, where SECURITY events are, they alone count: nobody is framed by a NOTICE."""
    reader, counting = detector("asterisk[log=all]"), Attempts(filters["asterisk[log=all]"])
    honest = {**NOTICE_CHANGED, "display": "", "callid": "c1"}
    log = event("InvalidAccountID", honest) + notice(NOTICE_CHANGED) * 20 + notice(honest)
    told = [event for event in reader.feed(log.encode()) if counting.new(event.host, event, event.time)]
    assert [event.host for event in told] == [ATTACKER]


def test_an_esc_that_eats_the_key_of_the_true_address_hides_it_not():
    """A forged address in the Call-ID, and the key of the true one eaten: what is left of it stands last, and counts."""
    forged = f'",LocalAddress="IPV4/UDP/{PBX}/5060",RemoteAddress="IPV4/UDP/{VICTIM}/5060",Challenge="\x1b'
    assert accused("asterisk", failed_response({"callid": forged, "nonce": "n", "response": "r"}))[0] == {ATTACKER}
