"""Help of `fail2ban-client`, in our own words for the same options and commands."""

from __future__ import annotations

HEAD = "sipguard, answering as Fail2Ban: reads logs, rejects addresses that fail often.\n"

_OPTIONS = """
Options:
    -c, --conf DIR          directory with the configuration
    -s, --socket FILE       the server's socket
    -p, --pidfile FILE      the server's pid file
    --loglevel LEVEL        --logtarget TARGET   --syslogsocket auto|FILE
    -d, --dp                print the configuration as commands (--dp: lines)
    -t, --test              check the configuration
    -i                      interactive mode
    -v, -q                  more verbose, less verbose
    -x                      start even if a socket file exists
    -b, -f                  start in the background (default), in the foreground
    --timeout TIME          how long to wait for the server to start or stop
    --str2sec TIME          print a time such as "1h 30m" in seconds
    -h, --help              -V, --version

Commands:
    start, stop, restart [JAIL]
    reload [--restart] [--unban] [--if-exists] [JAIL|--all]
    status [JAIL|--all [basic|short|stats|cymru]], stats, ping, version
    flushlogs, echo TEXT, sleep SECONDS
    banned [IP ...], unban IP ...|--all
    get|set loglevel|logtarget|syslogsocket [VALUE]
    get|set dbfile|dbmaxmatches|dbpurgeage [VALUE]
    add JAIL [BACKEND], start JAIL, stop JAIL
    set JAIL banip IP ..., unbanip [--report-absent] IP ...
    set JAIL attempt IP [LINE ...]
    set JAIL addignoreip|delignoreip IP
    set JAIL addlogpath FILE [tail|head], dellogpath FILE
    set JAIL addfailregex|addignoreregex|prefregex REGEX
    set JAIL delfailregex|delignoreregex NUMBER
    set JAIL bantime|findtime TIME, maxretry|maxmatches|maxlines NUMBER
    set JAIL bantime.KEY VALUE, idle on|off, ignoreself true|false
    set JAIL usedns yes|warn|no|raw, ignorecommand|ignorecache VALUE
    set JAIL logencoding|logtimezone|datepattern VALUE
    set JAIL addjournalmatch|deljournalmatch MATCH
    set JAIL addaction|delaction NAME, action NAME KEY VALUE
    get JAIL banned [IP ...], banip [SEPARATOR|--with-time]
    get JAIL logpath, ignoreip, failregex, ignoreregex, actions
    get JAIL OPTION         any other option of `set`"""


def show(program: str) -> None:
    print(f"Usage: {program} [OPTIONS] <COMMAND>\n\n{HEAD}{_OPTIONS}")
