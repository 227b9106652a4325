"""Models of the servers: they write lines as Asterisk and FreeSWITCH do from what a stranger has sent.

That is their printf formats, and what they take out of or leave in a field (Asterisk's `term_strip`, its cut of account
names, its quoting; FreeSWITCH's folded headers, its cut of long lines).
"""

from __future__ import annotations

import json
import re

ATTACKER, VICTIM, PBX = "203.0.113.66", "192.0.2.99", "192.0.2.10"
TIME = 'EventTV="2026-01-15T10:20:30.123+0000"'
UUID = "5459c4f5-8716-4147-b8e7-07fadf48c9de"
FS_DATE = "2026-01-15 10:20:30.123456 98.53%"
REQUEST_PEER = f"{ATTACKER}:5060"


# --- Asterisk ---------------------------------------------------------------------------------------------------------


def term_strip(line):
    """Asterisk takes out everything from an ESC to the next `m`; without one, nothing."""
    return re.sub(r"\x1b[^m]*m", "", line)


LOGGED = 8191
"""Bytes of a message that Asterisk logs, with what stands before it and the line feed at its end: what is cut has none."""


def asterisk(level, file, message, date="2026-01-15 10:20:30"):
    """One message as the default formatter writes it to a file: cut first, then stripped."""
    return term_strip(f"[{date}] {level}[4242] {file}: {message}\n"[:LOGGED])


def as_json(line):
    """The same line of a file as the formatter [json] writes it."""
    date, _, rest = line.removeprefix("[").partition("] ")
    level, _, rest = rest.partition("[4242] ")
    file, _, message = rest.partition(": ")
    location = {"filename": file, "function": "f", "line": 1}
    identifiers = {"lwp": 4242, "callid": ""}
    logmsg = {"location": location, "level": level, "message": message}
    return json.dumps({"hostname": "pbx1", "timestamp": date, "identifiers": identifiers, "logmsg": logmsg}) + "\n"


def in_syslog(line):
    """The same line of a file as syslog has it: every message is a line of its own, cut or not."""
    level, _, rest = line.partition("] ")[2].partition("[4242] ")
    file, _, message = rest.partition(": ")
    text = f"{level}[4242]: {file}:722 in log_it: {message.removesuffix(chr(10))}"
    return f"Jan 15 10:20:30 pbx1 asterisk[777]: {text}\n"


def notice(fields, reason="No matching endpoint found"):
    """pjsip_distributor.c: method, From and Call-ID are the caller's; the address stands between them."""
    sender = f'"{fields["display"]}" <sip:{fields["user"]}@{PBX}>'
    return asterisk(
        "NOTICE",
        "res_pjsip/pjsip_distributor.c",
        f"Request '{fields['method']}' from '{sender}' failed for '{REQUEST_PEER}' (callid: {fields['callid']}) - {reason}",
    )


def event(kind, fields, tail=""):
    """res_security_log.c: quotes are not escaped, a newline in the account's name splits the line; no UTF-8, no event."""
    if re.search("[\udc80-\udcff]", fields["account"][:36] + fields["callid"] + tail):
        return asterisk("ERROR", "security_events.c", f"Failed to issue security event of type {kind}.")
    return asterisk(
        "SECURITY",
        "res_security_log.c",
        f'SecurityEvent="{kind}",EventTV="2026-01-15T10:20:30.123+0000",Severity="Error",Service="PJSIP",EventVersion="1",'
        f'AccountID="{fields["account"][:36]}",SessionID="{fields["callid"]}",LocalAddress="IPV4/UDP/{PBX}/5060",'
        f'RemoteAddress="IPV4/UDP/{ATTACKER}/5060"{tail}',
    )


def failed_response(fields):
    """ChallengeResponseFailed: nonce and response follow the address, a quote in them is written with a backslash."""
    nonce, response = (fields[name].replace('"', '\\"') for name in ("nonce", "response"))
    known = {**fields, "account": "1000"}
    return event(
        "ChallengeResponseFailed", known, f',Challenge="{nonce[:63]}",Response="{response[:255]}",ExpectedResponse=""'
    )


def manager(fields):
    """manager.c: the address first, the caller's name behind it; and the event, with the name before it."""
    peer = f'SessionID="0x7f5c",LocalAddress="IPV4/TCP/{PBX}/5038",RemoteAddress="IPV4/TCP/{ATTACKER}/42490"'
    return asterisk("NOTICE", "manager.c", f"{ATTACKER} failed to authenticate as '{fields['user']}'") + asterisk(
        "SECURITY",
        "res_security_log.c",
        f'SecurityEvent="InvalidAccountID",{TIME},Severity="Error",Service="AMI",EventVersion="1",'
        f'AccountID="{fields["user"]}",{peer},SessionTV="1970-01-01T00:00:00.000+0000"',
    )


def manager_digest(fields):
    """manager.c: the answer to a challenge, and a request before login, behind the address."""
    peer = f'SessionID="0x7f5c",LocalAddress="IPV4/TCP/{PBX}/5038",RemoteAddress="IPV4/TCP/{ATTACKER}/42490"'
    head = f'{TIME},Severity="Error",Service="AMI",EventVersion="1",AccountID="",{peer}'
    end = 'SessionTV="1970-01-01T00:00:00.000+0000"'
    digest = f',Challenge="121453180",Response="{fields["response"]}",ExpectedResponse="00",{end}'
    return asterisk(
        "SECURITY", "res_security_log.c", f'SecurityEvent="ChallengeResponseFailed",{head}{digest}'
    ) + asterisk(
        "SECURITY",
        "res_security_log.c",
        f'SecurityEvent="RequestNotAllowed",{head},RequestType="Action: {fields["response"]}",{end}',
    )


def chan_sip(fields):
    """chan_sip.c: the whole To header before the address."""
    return asterisk(
        "NOTICE", "chan_sip.c", f"Registration from '{fields['display']}' failed for '{REQUEST_PEER}' - {PEER_UNKNOWN}"
    )


PEER_UNKNOWN = "No matching peer found"


def iax2(fields):
    """chan_iax2.c with authdebug: the name of a peer, raw bytes, line feeds too."""
    return asterisk(
        "NOTICE", "chan_iax2.c", f"No registration for peer '{fields['number'][:255]}' (from {ATTACKER})"
    ) + (asterisk("WARNING", "chan_iax2.c", f"Host {ATTACKER}:4569 failed to authenticate as {fields['number'][:255]}"))


def to_extension(fields):
    """res_pjsip_session.c: the number behind the address, at most 79 characters, line feeds too."""
    message = f" 1000: Call (UDP:{REQUEST_PEER}) to extension '{fields['number'][:79]}' rejected because extension not found in"
    return asterisk("NOTICE", "res_pjsip_session.c", f"{message} context 'default'.")


ASTERISK = {
    "notice": notice,
    "notice-password": lambda fields: notice(fields, "Failed to authenticate"),
    "unknown": lambda fields: event("InvalidAccountID", fields),
    "acl": lambda fields: event("FailedACL", fields, ',ACLName="not_match_endpoint_acl"'),
    "password": failed_response,
    "manager": manager,
    "manager-digest": manager_digest,
    "chan_sip": chan_sip,
    "iax2": iax2,
    "extension": to_extension,
}

# --- FreeSWITCH -------------------------------------------------------------------------------------------------------


def failure(fields):
    """sofia_reg.c, wrong password: user and host of To."""
    user = re.sub(r"[@:>\0]", "", fields["user"])
    host = "[" + fields["host"].replace("]", "") + "]"
    return [
        f"[WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile 'internal' for [{user}@{host}] "
        f"from ip {ATTACKER}"
    ]


def unknown(fields):
    """sofia_reg.c, no such user: user and realm of Authorization, each twice; three lines."""
    user, realm = fields["user"].replace('"', ""), fields["realm"].replace('"', "")
    return [
        f"[WARNING] sofia_reg.c:3210 Can't find user [{user}@{realm}] from {ATTACKER}\n"
        f"You must define a domain called '{realm}' in your directory and add a user with the id=\"{user}\" attribute\n"
        "and you must configure your device to use the proper domain in its authentication credentials."
    ]


def freeswitch_file(messages):
    """mod_logfile: the caller's line feeds as they are."""
    return "".join(f"{FS_DATE} {message}\n" for message in messages)


def freeswitch_syslog(messages, longest=8192):
    """mod_syslog through rsyslog: no message with ESC or a low control byte, line feeds written #012, and cut at `longest`."""
    kept = [message for message in messages if not re.search(r"[\x00-\x08\x1b]", message)]
    return "".join(
        f"Jan 15 10:20:30 pbx1 freeswitch[777]: {FS_DATE} {message.replace(chr(10), '#012')}"[:longest] + "\n"
        for message in kept
    )


def invite(fields):
    """sofia.c with `uuid=true`: the line of a session is cut at 2047 characters together with its line feed."""
    channel, callid = fields["channel"], fields["callid"]
    message = (
        f"{FS_DATE} [INFO] sofia.c:10472 sofia/internal/{channel} receiving invite from {REQUEST_PEER} version: 1.11.2 "
        f"call-id: {callid}\n"
    )
    return "".join(f"{UUID} {line}\n"[:2047] for line in message.removesuffix("\n").split("\n"))


def mod_fail2ban(fields):
    """mod_fail2ban's own file: the user before the address."""
    user = re.sub(r"[@:>\0]", "", fields["user"])
    return f"A registration failed user[{user}] ip[{ATTACKER}] at[2026-01-15T10:20:30.123456+0000]\n"
