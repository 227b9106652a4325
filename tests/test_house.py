"""The house is one that a stranger can read: no circle of imports, no file and no function too long for one sitting."""

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "sipguard").rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def _module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module(path): path for path in FILES}


def _imported(module):
    """The modules of sipguard that one imports when it is imported: not within functions, not for type checkers."""
    for node in ast.parse(MODULES[module].read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


def test_no_circle():
    """What a file imports does not import that file, however long the way."""
    graph = {module: set(_imported(module)) - {module} for module in MODULES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_files_are_read_in_one_sitting():
    """At most 400 lines each."""
    lines = {path: len(path.read_text().splitlines()) for path in FILES}
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > LONGEST_FILE} == {}


def test_functions_fit_on_a_screen():
    """At most 60 lines each."""
    long = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and node.end_lineno - node.lineno >= LONGEST_FUNCTION
            ):
                long[f"{path.relative_to(ROOT)} {node.name}"] = node.end_lineno - node.lineno + 1
    assert long == {}


def test_one_class_of_a_name():
    """Who reads a name need not ask which of two is meant."""
    places = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_one_file_of_tests_of_a_name():
    """Pytest imports them by their names alone: it would refuse the second when both are collected."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, times in names.items() if times > 1] == []
