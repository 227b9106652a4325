"""Every command by the task that it is for, with examples: what `--help`, the man pages and the README tell.

Plain data, since `sipguard --help` has to answer at once: nothing is imported here, click neither.
"""

from __future__ import annotations

from textwrap import wrap

ABOUT = "Rejects the addresses that attack your SIP server, for a limited time, in a firewall table of its own."
_EXIT_STATUS = {0: "done", 1: "the answer is no", 2: "the call or the configuration is wrong"}
_CLOSER = {
    "ban": {2: "the call is wrong, or an address is none or may never be banned"},
    "bans": {1: "there is none"},
    "check": {0: "all is right", 1: ""},
    "client": {0: "done", 1: "", 2: "", 255: "the server refuses or does not answer, or the call is wrong"},
    "enable": {1: "nothing was found, or you said no"},
    "explain": {1: "the address is not banned"},
    "feeds": {1: "no feed is configured"},
    "fleet": {1: "Redis is out of reach, or there is no fleet"},
    "history": {1: "there was none"},
    "reload": {1: "no jail runs now"},
    "selftest": {1: "a stage failed, or nothing listens"},
    "status": {1: "nobody is protected: no jail runs, none has anything to read, or the firewall takes no bans"},
    "test-action": {1: "something that was run failed"},
    "test-filter": {0: "something matched (with --json: all was read)", 1: "nothing matched"},
    "unban": {1: "the address was not banned"},
}
"""Of commands whose exit status can be told more closely; empty: never so."""


TASKS = {
    "Begin": ("enable", "check", "run", "reload", "service", "adopt"),
    "See what happens": ("status", "bans", "history", "explain", "top", "web"),
    "Act": ("ban", "unban", "flush"),
    "Try before you trust": ("selftest", "test-filter", "replay", "test-action"),
    "Know more than this server": ("feeds", "fleet"),
    "Below and beside": ("firewall", "client", "completion", "man"),
}
"""What somebody wants to do → the commands for it."""
FIRST_STEPS = (
    ("sipguard enable", "find and protect the SIP servers here"),
    ("sipguard status", "protected or not, and what mends it"),
    ("sipguard explain 203.0.113.5", "why is this address banned?"),
    ("sipguard unban 203.0.113.5", "let it through"),
)
COMMANDS = {
    "adopt": "Take over from a running Fail2ban, with its bans; or go back.",
    "ban": "Reject an address for a while.",
    "bans": "Who is rejected now: since when, for how long, why.",
    "check": "Read the configuration and say what is wrong with it.",
    "client": "What fail2ban-client does: status, set JAIL banip …",
    "completion": "Let your shell complete commands, jails and banned addresses.",
    "enable": "Find the SIP servers of this machine and protect them.",
    "explain": "Why an address is, was or is not banned.",
    "feeds": "Lists of known attackers: APIBAN and block lists.",
    "firewall": "What sipguard has made in the firewall; is all of it there?",
    "fleet": "The other servers that bans are shared with.",
    "flush": "End every ban; nobody else's rules are touched.",
    "history": "Who was rejected in the last day, or longer ago.",
    "man": "Write the manual pages.",
    "reload": "Make the running daemon read its configuration again.",
    "replay": "What a jail would have done with a log or a capture.",
    "run": "Protect: follow the logs and ban, until stopped.",
    "selftest": "Follow one failed login of this machine to the firewall.",
    "service": "Make an installation by pip a service of systemd.",
    "status": "Whether you are protected, by what, and what is wrong.",
    "test-action": "Show what an action does on a ban, or try it.",
    "test-filter": "Try a filter on a log, a line or the journal.",
    "unban": "Let an address through again.",
    "top": "Show what happens now, live on this terminal.",
    "web": "Show all of it on a page for browsers.",
}
"""Its line in a list. The file of a command is named like it."""
EXAMPLES = {
    "adopt": (
        ("sipguard adopt --dry-run", "what would change"),
        ("sipguard adopt --undo", "back to Fail2ban"),
    ),
    "ban": (
        ("sipguard ban 203.0.113.5", "on every port, for a day"),
        ("sipguard ban 203.0.113.0/24 --time 7d --reason 'toll fraud'", "a network, for a week"),
        ("sipguard ban --jail asterisk - < list.txt", "every address of a list, on a jail's ports"),
    ),
    "bans": (
        ("sipguard bans", "all jails, the newest first"),
        ("sipguard bans 203.0.113.0/24", "everybody in a network"),
        ("sipguard bans --user 1000 --sort attempts", "who tried that extension, the busiest first"),
        ("sipguard bans --json | jq -r '.bans[].address'", "for programs"),
    ),
    "check": (
        ("sipguard check", "before every reload"),
        ("sipguard check --fail2ban-dir /etc/fail2ban", "a tree of Fail2ban's"),
    ),
    "client": (("sipguard client status asterisk", "as fail2ban-client answers it"),),
    "completion": (
        ("sipguard completion bash > /etc/bash_completion.d/sipguard", "for everybody's bash"),
        ("sipguard completion fish > ~/.config/fish/completions/sipguard.fish", "for your fish"),
    ),
    "enable": (
        ("sipguard enable", "shows what it would write, and asks"),
        ("sipguard enable asterisk --yes", "for scripts"),
        ("sipguard enable --undo", "puts every file back"),
    ),
    "explain": (
        ("sipguard explain 203.0.113.5", "what it tried, how often, and when"),
        ("sipguard explain 203.0.113.5 -v", "with each line and the regexes"),
    ),
    "feeds": (("sipguard feeds refresh apiban", "fetch one now"),),
    "firewall": (("sipguard firewall verify", "is every ban in the kernel?"),),
    "fleet": (("sipguard fleet", "who is heard, and what is taken"),),
    "flush": (
        ("sipguard flush", "asks first"),
        ("sipguard flush --kernel --yes", "remove all of it from the firewall, without a daemon"),
    ),
    "history": (
        ("sipguard history --since 7d --sort attempts", "the busiest of the week first"),
        ("sipguard history 203.0.113.5", "what became of one address"),
    ),
    "man": (("sipguard man /usr/local/share/man/man1", "for man(1)"),),
    "reload": (("sipguard check && sipguard reload", "only if it is right"),),
    "replay": (
        ("sipguard replay --jail asterisk /var/log/asterisk/security.log*", "who would have been banned?"),
        ("sipguard replay --jail sip capture.pcap", "the same of packets"),
    ),
    "run": (
        ("sipguard run", "in the foreground, as systemd wants it"),
        ("sipguard run --fail2ban-dir /etc/fail2ban", "the jails of a Fail2ban tree"),
    ),
    "selftest": (
        ("sipguard selftest", "each transport at 127.0.0.1"),
        ("sipguard selftest --to 192.0.2.10 --transport udp", "where the server listens"),
    ),
    "service": (
        ("sipguard service install", "unit, user, configuration"),
        ("sipguard service uninstall", "takes it away again"),
    ),
    "status": (
        ("sipguard status", "everything on one screen"),
        ("sipguard status asterisk", "one jail, with its addresses"),
    ),
    "test-action": (("sipguard test-action webhook --jail asterisk --run", "send one for a made-up ban"),),
    "test-filter": (
        ("sipguard test-filter /var/log/freeswitch/freeswitch.log freeswitch", "what is found, and why"),
        ("sipguard test-filter --print-missed app.log ./my.conf", "what your own filter misses"),
    ),
    "unban": (
        ("sipguard unban 203.0.113.5", "in every jail; its failures are forgotten"),
        ("sipguard unban --all --jail asterisk", "asks first"),
    ),
    "top": (("sipguard top", "q quits"),),
    "web": (("sipguard web", "on this machine"),),
}
"""Calls, and what each is good for."""
HABITS = {
    "banip": "ban",
    "block": "ban",
    "unbanip": "unban",
    "unblock": "unban",
    "list": "bans",
    "ls": "bans",
    "why": "explain",
    "start": "run",
    "restart": "reload",
    "stop": "flush",
    "regex": "test-filter",
    "import": "adopt",
    "init": "enable",
    "install": "enable",
    "log": "history",
    "decisions": "bans",
}
"""What other programs call it → the command here."""


def near(name: str) -> list[str]:
    """The commands that somebody may have meant."""
    from difflib import get_close_matches  # noqa: PLC0415 - for a wrong call

    habit = [HABITS[name]] if name in HABITS else []
    return list(dict.fromkeys([*habit, *get_close_matches(name, COMMANDS, n=2, cutoff=0.65)]))


def overview(width: int = 80) -> str:
    """What `sipguard --help` prints."""
    lines = [
        "Usage: sipguard [OPTIONS] COMMAND [ARGS]...",
        "",
        *(f"  {line}" for line in _wrapped(ABOUT, width - 2)),
        "",
    ]
    column = max(map(len, COMMANDS)) + 2
    for title, names in TASKS.items():
        lines.append(f"{title}:")
        for name in names:
            first, *rest = _wrapped(COMMANDS[name], width - column - 2)
            lines.append(f"  {name:<{column}}{first}")
            lines += [" " * (column + 2) + line for line in rest]
        lines.append("")
    lines.append("First steps:")
    longest = max(len(call) for call, _ in FIRST_STEPS) + 2
    lines += [f"  {call:<{longest}}{what}" for call, what in FIRST_STEPS]
    lines += ["", *_wrapped("Options: -h, --help; --version. `sipguard COMMAND --help` tells more of one.", width)]
    lines += _wrapped(exit_status(), width)
    return "\n".join(lines) + "\n"


def exit_status(name: str = "") -> str:
    """What a command's exit status means; without a name, what most commands' does."""
    meanings = {**_EXIT_STATUS, **_CLOSER.get(name, {})}
    return f"Exit status: {'; '.join(f'{status} {meaning}' for status, meaning in meanings.items() if meaning)}."


def examples_of(name: str, width: int = 78) -> str:
    """The examples of a command: each call, and beside or below it what it is good for."""
    calls = EXAMPLES.get(name, ())
    longest = max((len(call) for call, _ in calls), default=0) + 2
    beside = all(longest + len(what) <= width - 2 for _, what in calls)
    lines = []
    for call, what in calls:
        lines += [f"  {call:<{longest}}{what}"] if beside else [f"  {call}", f"      {what}"]
    return "\n".join(["Examples:", *lines]) if lines else ""


def _wrapped(text: str, width: int) -> list[str]:
    return wrap(text, width, break_long_words=False, break_on_hyphens=False)
