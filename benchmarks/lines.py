"""`python -m benchmarks.lines OLD`: lines of `sipguard/` in another checkout and in this one, folder by folder.

What has come since is counted apart from what OLD did already: `since.toml` lists it, by whole files, by single definitions
(a definition takes with it the comments and blank lines above it, a constant or field also the text below that explains it,
and all of them the imports that nothing else in their file uses) and, as `function/words` (a regex), by those statements of a
function, or arguments and elements on lines of their own, whose first line has these words (an `if` without its `else`). All
else counts as the same behaviour, also what serves both. To repeat it for the commit that the list is made for:

    git worktree add /tmp/old d3a3447 && .venv/bin/python -m benchmarks.lines /tmp/old
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter
from fnmatch import fnmatch
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parents[1]
SINCE = Path(__file__).with_name("since.toml")


def count(tree: Path) -> dict[str, int]:
    """File below `sipguard/` → its lines."""
    root = tree / "sipguard"
    return {str(one.relative_to(root)): len(one.read_text().splitlines()) for one in sorted(root.rglob("*.py"))}


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def definitions(text: str) -> dict[str, set[int]]:
    """Name → numbers of its lines: functions, classes, `Class.method`, what is assigned in a module or a class, `TABLE[row]`."""
    found: dict[str, set[int]] = {}  # a property and its setter have one name
    for name, first, last in _definitions(_parsed(text).body, text.splitlines()):
        found.setdefault(name, set()).update(range(first, last + 1))
    return found


def _definitions(body: Sequence[ast.stmt], lines: Sequence[str], prefix: str = "") -> Iterator[tuple[str, int, int]]:
    for node, following in zip_longest(body, body[1:]):
        first, last = node.lineno, node.end_lineno or node.lineno
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                first = min([first, *(one.lineno for one in node.decorator_list)])
            case (
                ast.Assign(targets=[ast.Name(id=name) | ast.Tuple(elts=[ast.Name(id=name), *_])])
                | ast.AnnAssign(target=ast.Name(id=name))
            ):
                yield from _rows(node.value, name)
                if is_text(following):
                    last = following.end_lineno or last
            case _:
                continue
        while first > 1 and (not (above := lines[first - 2].strip()) or above.startswith("#")):
            first -= 1
        yield f"{prefix}{name}", first, last
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node.body, lines, f"{name}.")


def _rows(table: ast.expr | None, name: str) -> Iterator[tuple[str, int, int]]:
    """Of a dictionary by their keys; of a tuple of calls, such as `Key("port", …)`, or of tuples, by what is first in each."""
    match table:
        case ast.Dict(keys=keys, values=values):
            rows = [(key, (key or value).lineno, value) for key, value in zip(keys, values, strict=True)]
        case ast.Tuple(elts=elements):
            firsts = [getattr(one, "args", getattr(one, "elts", ())) for one in elements]
            rows = [(first[0], one.lineno, one) for first, one in zip(firsts, elements, strict=True) if first]
        case _:
            return
    for key, first, row in rows:
        if isinstance(key, ast.Constant):
            yield f"{name}[{key.value}]", first, row.end_lineno or first


def statements(text: str, named: str) -> set[int]:
    """Numbers of the lines that `function/words` stands for; of a function in a class, `Class.function/words`."""
    place, _, words = named.partition("/")
    lines, taken, nodes = text.splitlines(), set[int](), list[ast.AST](_parsed(text).body)
    for name in place.split("."):
        nodes = [inner for one in nodes if getattr(one, "name", "") == name for inner in getattr(one, "body", ())]
    texts = {node.lineno: node.end_lineno or 0 for node in nodes if is_text(node)}
    for node in nodes:  # which grows
        if is_text(node):
            continue
        first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
        begins = first and not lines[first - 1][: getattr(node, "col_offset", 0)].strip()
        if not begins or not re.search(rf"\b{words}(?!\w)", lines[first - 1]):
            nodes += ast.iter_child_nodes(node)
            continue
        if isinstance(node, ast.If) and node.orelse:
            last = node.body[-1].end_lineno or 0
            nodes += node.orelse
        while lines[first - 2].strip().startswith("#"):
            first -= 1
        taken.update(range(first, texts.get(last + 1, last) + 1))
    return taken


def is_text(node: ast.AST | None) -> TypeGuard[ast.Expr]:
    """Whether it is a text alone, which explains what it stands in or behind."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def imports_of(text: str, taken: set[int]) -> int:
    """Lines of the imports whose names are used in the lines `taken`, and in no other."""
    nodes = list(ast.walk(_parsed(text)))
    uses: dict[str, set[int]] = {}
    for node in nodes:
        if isinstance(node, ast.Name):
            uses.setdefault(node.id, set()).add(node.lineno)
    number = 0
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom) and node.lineno not in taken:
            used = set[int]().union(*(uses.get(name.asname or name.name, set()) for name in node.names))
            number += ((node.end_lineno or node.lineno) - node.lineno + 1) * bool(used and used <= taken)
    return number


def since(new: dict[str, int]) -> dict[str, Counter[str]]:
    """What has come since → file → its lines. Ends the program where the list names something twice; says what is gone."""
    found: dict[str, Counter[str]] = {}
    taken: dict[str, set[int]] = {}
    named, gone = Counter[str](), list[str]()
    for what, table in tomllib.loads(SINCE.read_text()).items():
        lines = found[what] = Counter()
        for pattern in table.get("files", "").split():
            files = [name for name in new if fnmatch(name, pattern)]
            lines.update({name: new[name] for name in files})
            named.update(files)
            gone += [] if files else [pattern]
        for name in table.keys() - {"files", "why"}:
            known, names = definitions(_text(name)) if name in new else {}, table[name].split()
            known |= {one: numbers for one in names if "/" in one and (numbers := statements(_text(name), one))}
            for one in names:
                lines[name] += len(known.get(one, set()) - taken.setdefault(name, set()))
                taken[name] |= known.get(one, set())
            named.update(f"{name}: {one}" for one in names)
            gone += [f"{name}: {one}" for one in names if one not in known]
    wrong = [name for name, times in named.items() if times > 1]
    wrong += [f"{name}, a part of what is named" for name in named if is_within(name, named)]
    if wrong:
        sys.exit(f"mend {SINCE.name}:\n" + "\n".join(wrong))
    print(*(f"{SINCE.name}: {name}: not there any more" for name in gone), sep="\n", end="", file=sys.stderr)
    found["imports for these alone"] = Counter({name: imports_of(_text(name), lines) for name, lines in taken.items()})
    return found


def is_since(file: str, name: str) -> bool:
    """Whether this function or class serves only what has come since, alone or with its class or file."""
    for table in tomllib.loads(SINCE.read_text()).values():
        if any(fnmatch(file, pattern) for pattern in table.get("files", "").split()):
            return True
        if {name, name.partition(".")[0]} & set(table.get(file, "").split()):
            return True
    return False


def _text(name: str) -> str:
    return (HERE / "sipguard" / name).read_text()


def is_within(name: str, named: Counter[str]) -> bool:
    """Whether the file of this definition, or what it is a part of, is named too."""
    file, _, definition = name.partition(": ")
    outer = re.split(r"[.[/]", definition)[0]
    return (definition != outer and f"{file}: {outer}" in named) or (bool(definition) and file in named)


def main() -> None:
    """Print both."""
    old, new = count(Path(sys.argv[1])), count(HERE)
    apart = since(new)
    later = sum(apart.values(), Counter[str]())
    same = {name: number - later[name] for name, number in new.items()}
    rows: dict[str, Counter[str]] = {}
    for column, lines in (("old", old), ("same", same), ("now", new)):
        for name, number in lines.items():
            for folder in (name.partition("/")[0] if "/" in name else "(top)", "sum"):
                rows.setdefault(folder, Counter())[column] += number
    print(f"{'folder':<12}{'there':>8}{'the same here':>15}{'all here':>10}")
    for folder in (*sorted(rows.keys() - {"sum"}), "sum"):
        row = rows[folder]
        print(f"{folder:<12}{row['old']:>8}{row['same']:>15}{row['now']:>10}")
    print("\nsince then:", *(f"  {lines.total():>6}  {what}" for what, lines in apart.items()), sep="\n")


if __name__ == "__main__":
    main()
