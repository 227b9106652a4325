"""From the fields of a date, as text, to POSIX seconds: years and days that are left out, and time zones.

The rules are Fail2ban's (its samples hold them): without a year it is this year, or the last one if that would be more
than a day ahead; without a day it is today, or yesterday if that would be ahead; fractions of a second are dropped.
"""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING

from sipguard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
          "december")  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_DAY = 86400.0

ABBREVIATION = r"[A-Z](?:[A-Z]{2,4})?"
"""What a zone's abbreviation looks like: a military letter, or three to five letters."""

_ZONE = re.compile(rf"({ABBREVIATION})?(?:([+-])([01]\d)(?::?(\d{{2}}))?)?")

# Abbreviations are ambiguous (CST, IST); these are the meanings Fail2ban gives them, as hours east of Greenwich, fixed:
# no summer time is derived from them.
_HOURS: Mapping[float, str] = {
    -12: "Y",
    -11: "X NUT SST",
    -10: "W CKT HAST HST TAHT TKT",
    -9.5: "MART MIT",
    -9: "V AKST GAMT GIT HADT HNY",
    -8: "U AKDT CIST HAY HNP PST PT",
    -7: "T HAP HNR MST PDT",
    -6: "S CST EAST GALT HAR HNC MDT",
    -5: "R CDT COT EASST ECT EST ET HAC HNE PET",
    -4.5: "HLV VET",
    -4: "Q AST BOT CLT COST EDT FKT GYT HAE HNA PYT",
    -3.5: "HNT NST NT",
    -3: "P ADT ART BRT CLST FKST GFT HAA PMST PYST SRT UYT WGT",
    -2.5: "HAT NDT",
    -2: "O BRST FNT PMDT UYST WGST",
    -1: "N AZOT CVT EGT",
    0: "Z EGST GMT UTC WET WT",
    1: "A CET DFT WAT WEDT WEST",
    2: "B CAT CEDT CEST EET SAST WAST",
    3: "C EAT EEDT EEST IDT MSK",
    3.5: "IRST",
    4: "D AMT AZT GET GST KUYT MSD MUT RET SAMT SCT",
    4.5: "AFT IRDT",
    5: "E AMST AQTT AZST HMT MAWT MVT PKT TFT TJT TMT UZT YEKT",
    5.5: "SLT",
    5.75: "NPT",
    6: "F ALMT BIOT BTT IOT KGT NOVT OMST YEKST",
    6.5: "CCT MMT",
    7: "G CXT DAVT HOVT ICT KRAT NOVST OMSST THA WIB",
    8: "H ACT AWST BDT BNT CAST HKT IRKT KRAST MYT PHT SGT ULAT WITA WST",
    9: "I AWDT IRKST JST KST PWT TLT WDT WIT YAKT",
    9.5: "ACST",
    10: "K AEST PGT VLAT YAKST YAPT",
    10.5: "ACDT LHST",
    11: "L AEDT LHDT MAGT NCT PONT SBT VLAST VUT",
    11.5: "NFT",
    12: "M ANAST ANAT FJT GILT MAGST MHT NZST PETST PETT TVT WFT",
    13: "FJST NZDT",
}
_OFFSETS = {name: int(hours * 60) for hours, names in _HOURS.items() for name in names.split()}


def zone_of(name: str | None) -> tzinfo | None:
    """The zone for dates without one: `UTC`, `UTC+0200`, `-05:00`, `CET`, or a name of the zone database.

    None is the machine's own zone (`TZ` is honoured). Raises ConfigError if there is no such zone.
    """
    if name is None or not name.strip():
        return None
    name = name.strip()
    minutes = offset_minutes(name)
    if minutes is not None:
        return timezone(timedelta(minutes=minutes))
    import zoneinfo  # noqa: PLC0415 - few configurations name a zone, and the daemon's memory is counted

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"timezone {name!r} is not known: give one like UTC, UTC+0200 or Europe/Zurich") from None


def offset_minutes(zone: str) -> int | None:
    """Minutes east of Greenwich of `Z`, `UTC`, `CEST`, `+02`, `-0400`, `UTC+02:00`; None if it is none of these."""
    match = _ZONE.fullmatch(zone)
    if match is None or not zone:
        return None
    name, sign, hours, minutes = match.groups()
    base = _OFFSETS.get(name) if name else 0
    if base is None or not sign:
        return base
    span = int(hours) * 60 + int(minutes or 0)
    return base - span if sign == "-" else base + span


class DateResolver:
    """Turns the fields of a date into POSIX seconds, by a clock and a default zone."""

    def __init__(self, clock: Callable[[], float], zone: tzinfo | None) -> None:
        self._clock = clock
        self._zone = zone

    def resolve(self, fields: Mapping[str, str | None]) -> tuple[float, float] | None:
        """POSIX seconds of a date, and the reading of the clock until which that answer holds.

        None if there is no such date. `fields` are the named groups of a date pattern (`Y`, `m`, `d` …).
        """
        found = {name: value for name, value in fields.items() if value is not None}
        try:
            return self._resolve(found)
        except (ValueError, OverflowError, OSError):
            return None

    def _resolve(self, found: Mapping[str, str]) -> tuple[float, float] | None:
        zone: tzinfo | None = self._zone
        name = found.get("z") or found.get("Z")
        if name is not None:
            minutes = offset_minutes(name)
            if minutes is None:
                return None
            zone = timezone(timedelta(minutes=minutes))
        year = _year(found)
        moment = _time_of_day(found)
        if year is not None and (day := _day(found, year)):
            # DTZ001, here and below: a date without zone is what the log has; `_posix` gives it one.
            return _posix(datetime(*day, *moment), zone), math.inf  # noqa: DTZ001
        clock = self._clock()
        now = datetime.fromtimestamp(clock, self._zone)
        day = _day(found, now.year if year is None else year)
        if day is None:
            return None
        if not day:
            return _recent(datetime(year or now.year, now.month, now.day, *moment), zone, clock)  # noqa: DTZ001
        when = _posix(datetime(*day, *moment), zone)  # noqa: DTZ001
        if when > clock + _DAY:
            last = _posix(datetime(day[0] - 1, *day[1:], *moment), zone)  # noqa: DTZ001
            return last, min(_quarter_hour(clock), when - _DAY)
        return when, _quarter_hour(clock)


def _posix(local: datetime, zone: tzinfo | None) -> float:
    if zone is None:
        return time.mktime(local.timetuple())
    return local.replace(tzinfo=zone).timestamp()


def _recent(local: datetime, zone: tzinfo | None, clock: float) -> tuple[float, float]:
    """Today at that time, or yesterday if it is still to come."""
    when = _posix(local, zone)
    if when > clock:
        return _posix(local - timedelta(days=1), zone), min(_quarter_hour(clock), when)
    return when, _quarter_hour(clock)


def _quarter_hour(clock: float) -> float:
    """The next full quarter of an hour: no zone's midnight or new year lies before it."""
    return clock - clock % 900 + 900


def _year(found: Mapping[str, str]) -> int | None:
    if "Y" in found:
        return int(found["Y"])
    if "y" in found:
        return int(found["y"]) + 2000
    return None


def _day(found: Mapping[str, str], year: int) -> tuple[int, int, int] | tuple[()] | None:
    """Year, month and day; `()` if the date names no day at all; None if it names half of one."""
    month = _month(found)
    day = int(found["d"]) if "d" in found else None
    if month is not None and day is not None:
        return year, month, day
    ordinal = _day_of_year(found, year)
    if ordinal is not None:
        there = date.fromordinal(date(year, 1, 1).toordinal() + ordinal - 1)
        return there.year, there.month, there.day
    return () if month is None and day is None else None


def _month(found: Mapping[str, str]) -> int | None:
    if "m" in found:
        return int(found["m"])
    name = found.get("b") or found.get("B")
    if name is None:
        return None
    start = name[:3].lower()
    return next(number for number, month in enumerate(MONTHS, 1) if month.startswith(start))


def _day_of_year(found: Mapping[str, str], year: int) -> int | None:
    """The day of the year from `%j`, or from a week (`%U`, `%W`) and a weekday."""
    if "j" in found:
        return int(found["j"])
    week = found.get("U") or found.get("W")
    weekday = _weekday(found)
    if week is None or weekday is None:
        return None
    # Weeks of %U begin on Sunday, those of %W on Monday; days before the first such day are week 0.
    first = date(year, 1, 1).weekday()
    if "U" in found:
        first, weekday = (first + 1) % 7, (weekday + 1) % 7
    return int(week) * 7 - (7 if first else 0) + weekday + 1 + (7 - first if first else -7)


def _weekday(found: Mapping[str, str]) -> int | None:
    """0 is Monday."""
    name = found.get("a") or found.get("A")
    if name is not None:
        return [day[:3] for day in WEEKDAYS].index(name[:3].lower())
    return (int(found["w"]) - 1) % 7 if "w" in found else None


def _time_of_day(found: Mapping[str, str]) -> tuple[int, int, int]:
    if "I" in found:
        hour = int(found["I"])
        hour = 0 if hour == 12 else hour
        if found.get("p", "").lower() == "pm":
            hour += 12
    else:
        hour = int(found.get("H", "0"))
    return hour, int(found.get("M", "0")), int(found.get("S", "0"))


def this_year() -> int:
    """The year now by the real clock: which years are plausible in a log does not depend on an injected one."""
    return datetime.now(UTC).year
