"""The logs of common installations under an attack of the last minutes, laid out as below /var/log there."""

from __future__ import annotations

import time

ATTACKER = "203.0.113.66"
PBX = "192.0.2.10"
GUESSES = 30
SINCE_12, AS_IT_COMES = "%Y-%m-%d %H:%M:%S", "%b %e %H:%M:%S"
"""Dates of FreePBX and Issabel; of Asterisk's own sample."""


def _dates(number, form):
    now = time.time()
    return [time.strftime(form, time.localtime(now - 100 + each)) for each in range(number)]


def _event(name, service, account, session, number, more):
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - 100 + number))
    severity = "Informational" if name == "ChallengeSent" else "Error"
    return (
        f'res_security_log.c: SecurityEvent="{name}",EventTV="{when}.123+0000",Severity="{severity}",'
        f'Service="{service}",EventVersion="1",AccountID="{account}",SessionID="{session}",'
        f'LocalAddress="IPV4/UDP/{PBX}/5060",RemoteAddress="IPV4/UDP/{ATTACKER}/5060",{more}'
    )


def pjsip(form, *, events=True, notices=True, account="1000"):
    """Wrong passwords at PJSIP: the challenge and the refused answer, and the NOTICE."""
    lines = []
    for number, date in enumerate(_dates(GUESSES, form)):
        session, answer = f"{number:032x}", f'Challenge="1/{number:x}",Response="{number:x}",ExpectedResponse=""'
        if events:
            lines += [
                f"[{date}] SECURITY[4250] {_event(name, 'PJSIP', account, session, number, more)}"
                for name, more in (("ChallengeSent", 'Challenge=""'), ("ChallengeResponseFailed", answer))
            ]
        if notices:
            lines.append(
                f"[{date}] NOTICE[4242] res_pjsip/pjsip_distributor.c: Request 'REGISTER' from '<sip:1000@{PBX}>' "
                f"failed for '{ATTACKER}:5060' (callid: {session}) - Failed to authenticate"
            )
    return "\n".join([*lines, ""])


def chan_sip(form, number=GUESSES, *, events=False, notices=True):
    """Wrong passwords at chan_sip, whose security events nobody can trust."""
    lines = []
    for each, date in enumerate(_dates(number, form)):
        if events:
            event = _event("InvalidPassword", "SIP", 100 + each, f"0x7fa5{each:03d}", each, 'ReceivedHash="c3b9"')
            lines.append(f"[{date}] SECURITY[1310] {event}")
        if notices:
            lines.append(
                f"[{date}] NOTICE[2970] chan_sip.c: Registration from '\"{100 + each}\" <sip:{100 + each}@{PBX}>' "
                f"failed for '{ATTACKER}:5071' - Wrong password"
            )
    return "\n".join([*lines, ""])


def freeswitch(kind):
    """FusionPBX logs failures; the sample configuration only users that do not exist."""
    advice = (
        f"You must define a domain called '{PBX}' in your directory and add a user with the id=\"{{0}}\" attribute\n"
        "and you must configure your device to use the proper domain in its authentication credentials.\n"
    )
    told = {
        "failure": "[WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile 'internal' for "
        f"[{{0}}@{PBX}] from ip {ATTACKER}\n",
        "unknown": f"[WARNING] sofia_reg.c:3210 Can't find user [{{0}}@{PBX}] from {ATTACKER}\n{advice}",
        "nothing": "[NOTICE] mod_sofia.c:2000 something else {0}\n",
    }[kind]
    return "".join(
        f"{date}.123456 97.60% {told.format(100 + each)}" for each, date in enumerate(_dates(GUESSES, SINCE_12))
    )


OLD = "[2023-03-01 10:00:00] NOTICE[1] loader.c: an installation that is no more\n"


def installations():
    """Name → path below /var/log → text."""
    with_events, notices = pjsip(SINCE_12), pjsip(SINCE_12, events=False)
    events, unknown = pjsip(SINCE_12, notices=False), pjsip(SINCE_12, account="<unknown>")
    mixed_sip, sample = chan_sip(SINCE_12, events=True), pjsip(AS_IT_COMES, events=False)
    asterisk = {
        "freepbx-pjsip-known": {"fail2ban": with_events, "full": notices},
        "freepbx-pjsip-unknown-slow": {"fail2ban": unknown, "full": notices},
        "freepbx16-chansip": {"fail2ban": mixed_sip, "full": chan_sip(SINCE_12)},
        "freepbx-oss-fullonly": {"full": notices},
        "freepbx-emptyfail2ban": {"fail2ban": "", "security": events, "full": notices},
        "freepbx-stalefail2ban": {"fail2ban": OLD, "security": events},
        "issabel-pjsip": {"messages": with_events, "full": notices},
        "issabel-chansip": {"messages": mixed_sip, "full": chan_sip(SINCE_12)},
        "chansip-security-only": {"security": chan_sip(SINCE_12, events=True, notices=False)},
        "ast13-chansip": {"messages": chan_sip(AS_IT_COMES)},
        "ast13-chansip-few": {"messages": chan_sip(AS_IT_COMES, 10)},
        "ast20-pjsip-sample": {"messages.log": sample},
        "ast20-pjsip-sample-sec": {"messages.log": sample, "security.log": pjsip(AS_IT_COMES, notices=False)},
        "ast22-nologs": {"queue_log": "1|QUEUESTART\n"},
        "miko": {"security_log": events, "messages": notices},
    }
    return {name: {f"asterisk/{log}": text for log, text in logs.items()} for name, logs in asterisk.items()} | {
        "fusionpbx": {"freeswitch/freeswitch.log": freeswitch("failure")},
        "fs-vanilla-unknown": {"freeswitch/freeswitch.log": freeswitch("unknown")},
        "fs-vanilla-known": {"freeswitch/freeswitch.log": freeswitch("nothing")},
    }
