"""Every command by the task that it is for, with examples: what `--help`, the man pages and the README tell.

Plain data, since `sipguard --help` has to answer at once: nothing is imported here, click neither.
"""

from __future__ import annotations

from typing import NamedTuple

ABOUT = "Rejects the addresses that attack your SIP server, for a limited time, in a firewall table of its own."
EXIT_STATUS = "Exit status: 0 done; 1 the answer is no; 2 the call or the configuration is wrong."


class Task(NamedTuple):
    """What somebody wants to do."""

    title: str
    commands: tuple[str, ...]


class Described(NamedTuple):
    """One command."""

    line: str
    """Its line in a list."""
    examples: tuple[tuple[str, str], ...] = ()
    """A call, and what it is good for."""


TASKS = (
    Task("Begin", ("enable", "check", "run", "reload", "service", "adopt")),
    Task("See what happens", ("status", "bans", "history", "explain", "top", "web")),
    Task("Act", ("ban", "unban", "flush")),
    Task("Try before you trust", ("selftest", "test-filter", "replay", "test-action")),
    Task("Know more than this server", ("feeds", "fleet")),
    Task("Below and beside", ("firewall", "client", "completion", "man")),
)
FIRST_STEPS = (
    ("sipguard enable", "find and protect the SIP servers here"),
    ("sipguard status", "protected or not, and what mends it"),
    ("sipguard explain 203.0.113.5", "why is this address banned?"),
    ("sipguard unban 203.0.113.5", "let it through"),
)
COMMANDS = {
    "adopt": Described(
        "Take over from a running Fail2ban, with its bans; or go back.",
        (("sipguard adopt --dry-run", "what would change"), ("sipguard adopt --undo", "back to Fail2ban")),
    ),
    "ban": Described(
        "Reject an address for a while.",
        (
            ("sipguard ban 203.0.113.5", "on every port, for a day"),
            ("sipguard ban 203.0.113.0/24 --time 7d --reason 'toll fraud'", "a network, for a week"),
            ("sipguard ban --jail asterisk - < list.txt", "every address of a list, on a jail's ports"),
        ),
    ),
    "bans": Described(
        "Who is rejected now: since when, for how long, why.",
        (
            ("sipguard bans", "all jails, the newest first"),
            ("sipguard bans 203.0.113.0/24", "everybody in a network"),
            ("sipguard bans --user 1000 --sort attempts", "who tried that extension, the busiest first"),
            ("sipguard bans --json | jq -r '.bans[].address'", "for programs"),
        ),
    ),
    "check": Described(
        "Read the configuration and say what is wrong with it.",
        (
            ("sipguard check", "before every reload"),
            ("sipguard check --fail2ban-dir /etc/fail2ban", "a tree of Fail2ban's"),
        ),
    ),
    "client": Described(
        "What fail2ban-client does: status, set JAIL banip …",
        (("sipguard client status asterisk", "as fail2ban-client answers it"),),
    ),
    "completion": Described(
        "Let your shell complete commands, jails and banned addresses.",
        (
            ("sipguard completion bash > /etc/bash_completion.d/sipguard", "for everybody's bash"),
            ("sipguard completion fish > ~/.config/fish/completions/sipguard.fish", "for your fish"),
        ),
    ),
    "enable": Described(
        "Find the SIP servers of this machine and protect them.",
        (
            ("sipguard enable", "shows what it would write, and asks"),
            ("sipguard enable asterisk --yes", "for scripts"),
            ("sipguard enable --undo", "puts every file back"),
        ),
    ),
    "explain": Described(
        "Why an address is, was or is not banned.",
        (
            ("sipguard explain 203.0.113.5", "what it tried, how often, and when"),
            ("sipguard explain 203.0.113.5 -v", "with each line and the regexes"),
        ),
    ),
    "feeds": Described(
        "Lists of known attackers: APIBAN and block lists.", (("sipguard feeds refresh apiban", "fetch one now"),)
    ),
    "firewall": Described(
        "What sipguard has made in the firewall; is all of it there?",
        (("sipguard firewall verify", "is every ban in the kernel?"),),
    ),
    "fleet": Described(
        "The other servers that bans are shared with.", (("sipguard fleet", "who is heard, and what is taken"),)
    ),
    "flush": Described(
        "End every ban; nobody else's rules are touched.",
        (
            ("sipguard flush", "asks first"),
            ("sipguard flush --kernel --yes", "remove all of it from the firewall, without a daemon"),
        ),
    ),
    "history": Described(
        "Who was rejected in the last day, or longer ago.",
        (
            ("sipguard history --since 7d --sort attempts", "the busiest of the week first"),
            ("sipguard history 203.0.113.5", "what became of one address"),
        ),
    ),
    "man": Described("Write the manual pages.", (("sipguard man /usr/local/share/man/man1", "for man(1)"),)),
    "reload": Described(
        "Make the running daemon read its configuration again.",
        (("sipguard check && sipguard reload", "only if it is right"),),
    ),
    "replay": Described(
        "What a jail would have done with a log or a capture.",
        (
            ("sipguard replay --jail asterisk /var/log/asterisk/security.log*", "who would have been banned?"),
            ("sipguard replay --jail sip capture.pcap", "the same of packets"),
        ),
    ),
    "run": Described(
        "Protect: follow the logs and ban, until stopped.",
        (
            ("sipguard run", "in the foreground, as systemd wants it"),
            ("sipguard run --fail2ban-dir /etc/fail2ban", "the jails of a Fail2ban tree"),
        ),
    ),
    "selftest": Described(
        "Follow one failed login of this machine to the firewall.",
        (
            ("sipguard selftest", "each transport at 127.0.0.1"),
            ("sipguard selftest --to 192.0.2.10 --transport udp", "where the server listens"),
        ),
    ),
    "service": Described(
        "Make an installation by pip a service of systemd.",
        (
            ("sipguard service install", "unit, user, configuration"),
            ("sipguard service uninstall", "takes it away again"),
        ),
    ),
    "status": Described(
        "Whether you are protected, by what, and what is wrong.",
        (("sipguard status", "everything on one screen"), ("sipguard status asterisk", "one jail, with its addresses")),
    ),
    "test-action": Described(
        "Show what an action does on a ban, or try it.",
        (("sipguard test-action webhook --jail asterisk --run", "send one for a made-up ban"),),
    ),
    "test-filter": Described(
        "Try a filter on a log, a line or the journal.",
        (
            ("sipguard test-filter /var/log/freeswitch/freeswitch.log freeswitch", "what is found, and why"),
            ("sipguard test-filter --print-missed app.log ./my.conf", "what your own filter misses"),
        ),
    ),
    "unban": Described(
        "Let an address through again.",
        (
            ("sipguard unban 203.0.113.5", "in every jail; its failures are forgotten"),
            ("sipguard unban --all --jail asterisk", "asks first"),
        ),
    ),
    "top": Described("Show what happens now, live on this terminal.", (("sipguard top", "q quits"),)),
    "web": Described("Show all of it on a page for browsers.", (("sipguard web", "on this machine"),)),
}
"""The file of a command is named like it."""
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
    lines = ["Usage: sipguard [OPTIONS] COMMAND [ARGS]...", "", *_wrapped(ABOUT, width - 2, "  "), ""]
    column = max(map(len, COMMANDS)) + 2
    for task in TASKS:
        lines.append(f"{task.title}:")
        for name in task.commands:
            first, *rest = _wrapped(COMMANDS[name].line, width - column - 2, "")
            lines.append(f"  {name:<{column}}{first}")
            lines += [" " * (column + 2) + line for line in rest]
        lines.append("")
    lines.append("First steps:")
    longest = max(len(call) for call, _ in FIRST_STEPS) + 2
    lines += [f"  {call:<{longest}}{what}" for call, what in FIRST_STEPS]
    lines += ["", *_wrapped("Options: -h, --help; --version. `sipguard COMMAND --help` tells more of one.", width, "")]
    lines += _wrapped(EXIT_STATUS, width, "")
    return "\n".join(lines) + "\n"


def examples_of(name: str, width: int = 78) -> str:
    """The examples of a command: each call, and beside or below it what it is good for."""
    calls = COMMANDS[name].examples if name in COMMANDS else ()
    longest = max((len(call) for call, _ in calls), default=0) + 2
    beside = all(longest + len(what) <= width - 2 for _, what in calls)
    lines = []
    for call, what in calls:
        lines += [f"  {call:<{longest}}{what}"] if beside else [f"  {call}", f"      {what}"]
    return "\n".join(["Examples:", *lines]) if lines else ""


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(indent + line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, indent + line]
