"""The first run compiles each file once: of the processes that pytest-xdist starts, every one would compile all of them."""

from __future__ import annotations

import compileall
import sys
from contextlib import suppress
from pathlib import Path

from _pytest.assertion import rewrite  # the processes share no other way to what it writes

ROOT = Path(__file__).parents[1]


def compile_share(config):
    """Compile this process's share of the program and of the tests to run, where nobody has yet."""
    worker = getattr(config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode:
        return
    folders = [ROOT / "sipguard", *(Path(arg) for arg in config.args)]
    files = sorted(file for folder in folders if folder.is_dir() for file in folder.rglob("*.py"))
    for file in files[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
        if file.name.startswith("test_"):
            _compile_test(file, config)
        else:
            compileall.compile_file(file, quiet=2)


def _compile_test(file, config):
    """As pytest does when it imports a file of tests: with what a failed assertion says."""
    compiled = rewrite.get_cache_dir(file) / (file.stem + rewrite.PYC_TAIL)
    if compiled.exists() or not rewrite.try_makedirs(compiled.parent):
        return
    with suppress(SyntaxError):  # the import tells of it
        status, code = rewrite._rewrite_test(file, config)
        rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, status, compiled)
