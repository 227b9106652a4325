"""libpcre2-8 through ctypes: patterns compiled to machine code, searched in bytes. Nothing else is in this file.

The library is on every Debian (grep needs it) and is loaded by its soname. What can go wrong in C is held here: the code,
its block of results, the JIT's stack and the match context live as long as the `Pattern`; offsets are checked before they
are passed; `pcre2_match` is called, which checks its arguments, never `pcre2_jit_match`. A search costs at most
`MATCH_LIMIT` steps; one that needs more raises `SearchError`, which says nothing about whether there is a match.
See pcre2api(3), pcre2jit(3).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SONAME = "libpcre2-8.so.0"
OLDEST = (10, 30)
"""The first release with limits on the heap, and without recursion on the stack of the thread."""
MATCH_LIMIT = 100_000
"""Steps of one search: under a millisecond, for a regex and a line made to take for ever."""

_HEAP_KIB = 20_000
_STACK_FIRST, _STACK_MOST = 32 << 10, 1 << 20
"""Bytes of the JIT's own stack."""

_CASELESS = 0x0000_0008
_MULTILINE = 0x0000_0400
_NEVER_BACKSLASH_C = 0x0010_0000
_ANCHORED = 0x8000_0000
_JIT_COMPLETE = 1
_NEWLINE_LF = 2
_CONFIG_JIT, _CONFIG_VERSION = 1, 11
_NO_MATCH = -1
UNSET = ctypes.c_size_t(-1).value
"""The offset of a group that has taken no part."""

_size, _int, _u32, _void = ctypes.c_size_t, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
_FROM_BEGIN, _NO_OPTIONS = _size.from_param(0), _u32.from_param(0)
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "config": (_int, [_u32, _void]),
    "compile": (
        _void,
        [ctypes.c_char_p, _size, _u32, ctypes.POINTER(_int), ctypes.POINTER(_size), _void],
    ),
    "jit_compile": (_int, [_void, _u32]),
    "code_free": (None, [_void]),
    "compile_context_create": (_void, [_void]),
    "set_newline": (_int, [_void, _u32]),
    "match_context_create": (_void, [_void]),
    "set_match_limit": (_int, [_void, _u32]),
    "set_heap_limit": (_int, [_void, _u32]),
    "jit_stack_create": (_void, [_size, _size, _void]),
    "jit_stack_assign": (None, [_void, _void, _void]),
    "match_data_create_from_pattern": (_void, [_void, _void]),
    "match_data_free": (None, [_void]),
    "get_ovector_pointer": (_void, [_void]),
    "get_ovector_count": (_u32, [_void]),
    "get_error_message": (_int, [_int, ctypes.c_char_p, _size]),
}


class SearchError(Exception):
    """A search was given up: it would take too many steps or too much memory. Whether there is a match is not known."""


@dataclass(frozen=True, slots=True)
class Library:
    """What is known of the library of this machine."""

    version: str
    """`10.42`."""
    jit: bool
    """Whether patterns become machine code: False where the processor, the build or `MemoryDenyWriteExecute` forbids it."""


class _Loaded:
    """The library with one compile context, one match context and one JIT stack: for one thread at a time."""

    def __init__(self) -> None:
        """Raises OSError, AttributeError or ValueError: it is not here, or too old."""
        # PyDLL: the interpreter is not let go for a microsecond's search, which would cost as much as the search.
        dll = ctypes.PyDLL(SONAME)
        self.call: dict[str, Any] = {}
        for name, (result, arguments) in _FUNCTIONS.items():
            function = dll[f"pcre2_{name}_8"]
            function.restype, function.argtypes = result, arguments
            self.call[name] = function
        # Without argtypes: it takes what `from_param` has made of its arguments, of the right types, as it is.
        self.match = dll["pcre2_match_8"]
        self.match.restype = _int
        text = ctypes.create_string_buffer(64)
        self.call["config"](_CONFIG_VERSION, text)
        self.version = text.value.decode("ascii", "replace").split(" ")[0]
        number = tuple(int(part) for part in self.version.split("-")[0].split("."))
        if number < OLDEST:
            raise ValueError(
                f"{SONAME} {self.version} is too old, {OLDEST[0]}.{OLDEST[1]} is the oldest that can be used"
            )
        self.compile_context = self.made("compile_context_create", None)
        self.call["set_newline"](self.compile_context, _NEWLINE_LF)
        self.match_context = self.made("match_context_create", None)
        self.call["set_match_limit"](self.match_context, MATCH_LIMIT)
        self.call["set_heap_limit"](self.match_context, _HEAP_KIB)
        self.jit = self._jit_works()

    def made(self, name: str, *arguments: Any) -> int:
        """What a function of the library has made. Raises MemoryError."""
        made = self.call[name](*arguments)
        if not made:
            raise MemoryError(name)
        return int(made)

    def _jit_works(self) -> bool:
        built = _u32()
        self.call["config"](_CONFIG_JIT, ctypes.byref(built))
        if not built.value:
            return False
        code = self.compile(b"a", 0)
        try:
            if self.call["jit_compile"](code, _JIT_COMPLETE) != 0:
                return False
        finally:
            self.call["code_free"](code)
        stack = self.call["jit_stack_create"](_STACK_FIRST, _STACK_MOST, None)
        if not stack:
            return False
        self.call["jit_stack_assign"](self.match_context, None, stack)
        return True

    def compile(self, source: bytes, options: int) -> int:
        """Raises ValueError with the library's message."""
        error, place = _int(), _size()
        code = self.call["compile"](
            source, len(source), options, ctypes.byref(error), ctypes.byref(place), self.compile_context
        )
        if code:
            return int(code)
        message = ctypes.create_string_buffer(256)
        self.call["get_error_message"](error.value, message, len(message))
        raise ValueError(f"{message.value.decode('ascii', 'replace')} at {place.value}")


@lru_cache(maxsize=1)
def _load() -> tuple[_Loaded | None, str]:
    try:
        return _Loaded(), ""
    except (OSError, AttributeError, ValueError, MemoryError) as error:
        return None, str(error)


def library() -> Library | None:
    """The library, or None where it cannot be used: `why_not` says why."""
    loaded, _ = _load()
    return Library(loaded.version, loaded.jit) if loaded is not None else None


def why_not() -> str:
    """Why the library cannot be used, for a message; empty if it can."""
    return _load()[1]


def is_fast() -> bool:
    """Whether the library is here and makes machine code: without that, Python's own searches are no slower."""
    found = library()
    return found is not None and found.jit


def told() -> str:
    """What logs are searched by, for people."""
    found = library()
    if found is None:
        return f"Python alone, slowly: {why_not()}"
    if not found.jit:
        return f"Python alone, slowly: libpcre2 {found.version} cannot make machine code here (no JIT)"
    return f"libpcre2 {found.version} with JIT"


class Pattern:
    """One compiled pattern, in which `^` and `$` are those of lines that end in LF. One thread may use it at a time."""

    def __init__(self, source: str, *, anchored: bool = False, any_case: bool = False) -> None:
        """Compile `source`, which is ASCII; `anchored` matches at the offset that is given and nowhere else.

        Raises ValueError: the library is not here, or refuses the pattern.
        """
        self._code = self._block = 0
        loaded, why = _load()
        if loaded is None:
            raise ValueError(why)
        self._loaded = loaded
        options = _MULTILINE | _NEVER_BACKSLASH_C | (_ANCHORED if anchored else 0) | (_CASELESS if any_case else 0)
        self._code = loaded.compile(source.encode("ascii"), options)
        if loaded.jit:
            loaded.call["jit_compile"](self._code, _JIT_COMPLETE)  # where it fails the interpreter does the same
        self._block = loaded.made("match_data_create_from_pattern", self._code, None)
        count = loaded.call["get_ovector_count"](self._block)
        self.spans = (_size * (2 * count)).from_address(loaded.call["get_ovector_pointer"](self._block))
        """Begin and end of the last match, then of each group, in bytes; `UNSET` for a group that took no part.

        They are the library's memory: not to be kept longer than the pattern.
        """
        # Made once: to convert the arguments of each call takes as long as most searches.
        self._arguments = tuple(map(_void.from_param, (self._code, self._block, loaded.match_context)))

    def once(self, data: bytes) -> int:
        """What `matcher` gives at offset 0: for data that is searched no further."""
        if type(data) is not bytes:
            raise TypeError(type(data).__name__)
        code, block, context = self._arguments
        found: int = self._loaded.match(code, data, _size(len(data)), _FROM_BEGIN, _NO_OPTIONS, block, context)
        if found > 0:
            return found
        if found == _NO_MATCH:
            return 0
        raise SearchError(found)

    def matcher(self, data: bytes) -> Callable[[int], int]:
        """What looks for the first match in `data` at an offset or behind it, and leaves it in `spans`.

        It gives the number of the last group that took part, plus one; 0 if there is no match. It raises SearchError when
        that cannot be told, ValueError for an offset outside of `data`.
        """
        size, match, code, length, start, block, context = self._on(data)

        def find(begin: int, _alive: Pattern = self) -> int:
            _check(begin, size)
            start.value = begin
            found: int = match(code, data, length, start, _NO_OPTIONS, block, context)
            if found > 0:
                return found
            if found == _NO_MATCH:
                return 0
            raise SearchError(found)

        return find

    def places(self, data: bytes) -> Callable[[int], int]:
        """A function of an offset: where the first match at or behind it begins; the length of `data` if there is none.

        Where the search is given up it returns the offset itself. It raises ValueError as `matcher` does.
        """
        size, match, code, length, start, block, context = self._on(data)
        spans: Any = self.spans

        def place(begin: int, _alive: Pattern = self) -> int:
            start.value = begin
            found = match(code, data, length, start, _NO_OPTIONS, block, context)
            if found > 0:
                return spans[0]  # type: ignore[no-any-return]
            if found == _NO_MATCH:
                return size
            _check(begin, size)  # the library has refused such an offset
            return begin

        return place

    def walk(self, data: bytes) -> Callable[[int], Iterator[int]]:
        """What matches from an offset on, then where that match has ended, and so on, as long as there is one.

        It gives what `matcher` gives, for each match before the next is looked for; it ends where there is none, or where
        that cannot be told. It goes on at another offset for who writes that into `spans[1]` meanwhile; the library refuses
        one outside of `data`.
        """
        size, match, code, length, _, block, context = self._on(data)
        # The end of one match is the start of the next: it is read where the library has written it.
        start = _size.from_buffer(self.spans, ctypes.sizeof(_size))

        def steps(begin: int, _alive: Pattern = self) -> Iterator[int]:
            _check(begin, size)
            start.value = begin
            while (found := match(code, data, length, start, _NO_OPTIONS, block, context)) > 0:
                yield found

        return steps

    def _on(self, data: bytes) -> tuple[int, Any, Any, Any, Any, Any, Any]:
        """The size of `data`, the library's function, and for it: code, length, the offset that may change, block, context."""
        if type(data) is not bytes:
            raise TypeError(type(data).__name__)  # anything else could move in memory, or change
        size = len(data)
        code, block, context = self._arguments
        return size, self._loaded.match, code, _size.from_param(size), _size(0), block, context

    def __del__(self) -> None:
        """Free the code and its results."""
        if self._block:
            self._loaded.call["match_data_free"](self._block)
        if self._code:
            self._loaded.call["code_free"](self._code)


def _check(begin: int, size: int) -> None:
    if not 0 <= begin <= size:
        raise ValueError(f"offset {begin} in {size} bytes")
