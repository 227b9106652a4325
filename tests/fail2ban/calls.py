"""A session of calls of fail2ban-client, in order: what they change, later ones see.

Addresses are of the documentation ranges. `{dir}` is the directory of the server that is asked, `{now}` the time. A step that
is no call writes lines to a log, and waits until the server has counted them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lines:
    """Append lines to a log; then `failed` are counted in all, and `banned` live."""

    jail: str
    text: str
    failed: int
    banned: int


def _failures(address: str, count: int) -> str:
    return "".join(f"{{now}} login failed for user{number} from {address}\n" for number in range(count))


_FIRST = """
ping
ping 5
ping abc
status
status alpha
status alpha basic
status alpha short
status alpha cymru
status alpha nonesuch
status nojail
status a b c
version
echo a b
echo
sleep 0.01
sleep
server-status
foo
help
get
set
get alpha
set alpha
get alpha foo
set alpha foo
set alpha foo bar
get nojail bantime
set nojail bantime 5
get alpha maxretry extra
set alpha banip 192.0.2.1 192.0.2.2 192.0.2.1
set alpha banip 192.0.2.1
set alpha banip 2001:db8::0:5
set alpha banip 198.18.0.0/15
set alpha banip
set nojail banip 192.0.2.1
set beta banip 192.0.2.1
banned
banned 192.0.2.1
banned 192.0.2.1 192.0.2.77 2001:db8::5
get alpha banned
get alpha banned 192.0.2.1
get alpha banned 192.0.2.8
get alpha banned 192.0.2.1 192.0.2.8
get alpha banip ,
get alpha banip --with-time
get nojail banned
get nojail banip
status alpha
set alpha unbanip 192.0.2.77
set alpha unbanip --report-absent 192.0.2.77 192.0.2.2
set alpha unbanip --report-absent 192.0.2.77
set alpha unbanip
set alpha banip 192.0.2.30 192.0.2.31
set alpha unbanip 192.0.2.0/24
unban 192.0.2.1
unban 192.0.2.1
unban
unban --all
banned
"""

_OPTIONS = """
get alpha failregex
get alpha ignoreregex
get alpha prefregex
set alpha addfailregex ^second<HOST>$
set alpha addfailregex foo
set alpha addfailregex foo(<HOST>
set alpha delfailregex 1
set alpha delfailregex 9
set alpha delfailregex x
set alpha addignoreregex ^ign
set alpha addignoreregex (
set alpha delignoreregex 1
set alpha usedns raw
get alpha usedns
set alpha addfailregex bar<HOST>x
set alpha delfailregex 1
set alpha usedns foo
set gone prefregex ^x
set alpha prefregex (
set alpha prefregex ^(?:x)?<F-CONTENT>.+</F-CONTENT>$
get alpha prefregex
get alpha datepattern
set alpha datepattern %Y-%m-%d
set alpha datepattern ^%b\\ %d\\ %H:%M:%S
set alpha datepattern %ExY-%Exm-%Exd
set alpha datepattern EPOCH
set alpha datepattern {NONE}
get alpha ignoreip
set alpha addignoreip 192.0.2.100 host.invalid 2001:DB8::0/32
get alpha ignoreip
set alpha delignoreip 192.0.2.100
set alpha delignoreip 192.0.2.101
set alpha delignoreip 2001:db8::/32
set alpha delignoreip host.invalid
get alpha ignoreself
set alpha ignoreself no
set alpha ignoreself true
get alpha ignorecommand
set alpha ignorecommand /bin/false
get alpha ignorecache
set alpha ignorecache key=<ip>,max-count=5,max-time=1m
get alpha actions
get alpha action nothing actionban
get alpha action nothing timeout
get alpha logpath
set alpha addlogpath {dir}/beta.log tail
set alpha addlogpath {dir}/nonesuch.log
set alpha addlogpath {dir}/beta.log elsewhere
set alpha addlogpath {dir}/beta.log tail more
set alpha dellogpath {dir}/beta.log
set alpha dellogpath {dir}/nonesuch.log
get alpha logencoding
set alpha logencoding auto
set alpha logencoding latin-1
set alpha logencoding nonesuch
get alpha journalmatch
set alpha addjournalmatch _SYSTEMD_UNIT=a
get alpha logtimezone
set alpha logtimezone UTC+0200
set alpha logtimezone nonesuch
get alpha maxretry
set alpha maxretry 5
set alpha maxretry x
set alpha maxretry
get alpha maxmatches
set alpha maxmatches 7
get alpha maxlines
set alpha maxlines 3
set alpha maxlines 0
set alpha maxlines 1
get alpha findtime
set alpha findtime 1h30m
set alpha findtime 1.5m
set alpha findtime 2*(60+1)
set alpha findtime abc
set alpha findtime 900
get alpha bantime
set alpha bantime 1h\\ 5m
set alpha bantime -1
set alpha banip 192.0.2.60
get alpha banip --with-time
set alpha bantime 1mo
get alpha bantime.increment
set alpha bantime.increment true
get alpha bantime.increment
set alpha bantime.increment false
set alpha bantime.maxtime 1d
set alpha bantime.factor 2
get alpha bantime.multipliers
get alpha bantime.nonesuch
set alpha idle on
set alpha idle off
set alpha idle x
"""

_SERVER = """
add gamma polling
add delta nobackend
add --all
status
status gamma
start gamma
get gamma actions
get gamma bantime
get gamma findtime
get gamma maxretry
get gamma usedns
get gamma failregex
get gamma logpath
get gamma ignoreip
get gamma action one actionban
set gamma addaction one
set gamma addaction one
get gamma actions
get gamma actionproperties one
get gamma actionmethods one
get gamma action one timeout
get gamma action one actionban
set gamma action one actionban echo
get gamma action one actionban
set gamma action one timeout 30
set gamma addaction two
get gamma actions
set gamma delaction one
set gamma delaction one
stop gamma
stop gamma
start nojail
get dbfile
get dbpurgeage
get dbmaxmatches
set dbpurgeage 2d
set dbmaxmatches 5
set dbfile None
set dbfile {dir}/f2b.sqlite3
get loglevel
set loglevel debug
set loglevel 20
set loglevel nonesuch
set loglevel INFO
get logtarget
set logtarget /nonexistent/x
set logtarget {dir}/other.log
flushlogs
set logtarget {dir}/f2b.log
get syslogsocket
set syslogsocket /dev/log
get thread
set thread 5
server-stream
config-error foo
start
reload nojail
reload beta
reload a b
restart alpha
reload
status beta
reload --unban beta
status beta
set beta attempt 192.0.2.90
set beta attempt 192.0.2.90 a b
set beta attempt
"""

_END = """
status beta
get beta banned
stop --all
status
stop
ping
status
"""

_ON_THE_SPOT = """
-V
--version
--str2sec 1d12h
--str2sec 1mo
--str2sec x
--loglevel nonesuch ping
-q status x
-s {dir}/nosock status
-s {dir}/nosock ping
-s {dir}/nosock reload
-s {dir}/alpha.log status
-s {dir}/alpha.log ping
-t
-d
--dp
-t status
"""


def _calls(text: str) -> list[list[str]]:
    """A call is a line; a blank after a backslash does not part words."""
    lines = text.strip("\n").split("\n")
    return [[word.replace("\0", " ") for word in line.replace("\\ ", "\0").split()] for line in lines]


SESSION: list[list[str] | Lines] = [
    *_calls(_ON_THE_SPOT),
    *_calls(_FIRST),
    Lines("beta", _failures("203.0.113.5", 3) + _failures("203.0.113.6", 2) + _failures("198.51.100.9", 4), 5, 1),
    *_calls("status beta\nstatus beta short\nbanned\nbanned 203.0.113.5\nget beta banip --with-time"),
    Lines("beta", "{now} login failed for tester from 203.0.113.6\n" + _failures("2001:db8::66", 3), 8, 2),
    *_calls("status beta\nget beta banned"),
    *_calls(_OPTIONS),
    *_calls(_SERVER),
    Lines("beta", "", 10, 1),
    *_calls(_END),
]
