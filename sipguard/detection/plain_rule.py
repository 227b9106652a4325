"""What the search for plain lines has to know of a server's records: all that `scan` asks of the stage between.

A plain line is a record of one line. Whether a line is more than that, the record's stage alone can tell; here it says by
which signs a line certainly is not. It may say so anew for each chunk.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlainRule:
    """Regexes are sources for a line as it stands in the log, with its date, and without its LF."""

    headers: tuple[str, ...] = ()
    """What begins a record: one of them is found in a plain line; none where each line is a record."""
    folds: tuple[str, ...] = ()
    """What a further line of a record looks like: the line behind a plain one is none."""
    opens: tuple[str, ...] = ()
    """Without `folds`: none of these is found in a plain line, which is a whole record, whatever follows."""
    never: tuple[str, ...] = ()
    """None of these is found in a plain line."""
    longest: int = 0
    """Bytes beyond which a line may be cut or joined; 0 for no limit."""
    json: bool = False
    """Whether a line that begins with a brace may matter, whatever it holds."""
