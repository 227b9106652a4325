"""The way of a line is one way: a stage imports the nouns and its own files, never the stage after it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sipguard"
LEAVES = {
    "addresses",
    "durations",
    "errors",
    "failure",
    "files",
    "formula",
    "geoip",
    "model",
    "netlink",
    "networks",
    "secret",
    "service_manager",
    "shell",
    "sockets",
    "text",
    "counters",
    "troubles",
    "wire_model",
}
MAY_IMPORT = {
    "model": {"failure", "wire_model"},
    "failure": {"wire_model"},
    "wire_model": set(),
    "errors": set(),
    "addresses": set(),
    "netlink": set(),
    "networks": set(),
    "secret": {"model"},
    "service_manager": set(),
    "text": set(),
    "counters": set(),
    "troubles": {"text"},
    "files": set(),
    "formula": set(),
    "durations": {"model"},
    "geoip": set(),
    "shell": set(),
    "sockets": {"errors"},
    "config": LEAVES,
    "sources": LEAVES,
    "detection": LEAVES,
    "policy": LEAVES,
    "firewall": LEAVES,
    "state": LEAVES,
    "actions": LEAVES
    | {"__version__", "config"},  # the rules by which action files are read are those of the configuration
    "feeds": LEAVES,
    "fleet": LEAVES | {"__version__"},  # it tells the others which version it is
    # It asks the daemon over its socket, as any program may.
    "web": LEAVES | {"__version__"},
    "top": LEAVES,
    # All of Fail2ban that needs no daemon: its configuration, its action files, its protocol and client.
    "fail2ban": LEAVES | {"__version__", "config", "actions"},
    "enable": LEAVES | {"config"},
    "service": LEAVES | {"config", "firewall"},
}
"""Stage → what of sipguard it may know besides itself. `daemon`, `adopt` and `cli` join, so they may know all."""


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("sipguard."))


def _files(stage):
    single = PACKAGE / f"{stage}.py"
    return [single] if single.exists() else sorted((PACKAGE / stage).rglob("*.py"))


@pytest.mark.parametrize("stage", MAY_IMPORT)
def test_a_stage_knows_only_the_nouns(stage):
    """No stage reaches into another."""
    for file in _files(stage):
        known = set(_imports(file)) - {stage}
        assert known <= MAY_IMPORT[stage], f"{file.relative_to(PACKAGE)} imports {known - MAY_IMPORT[stage]}"


def test_every_stage_is_listed():
    """A new folder says here what it may know."""
    stages = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert stages - {"daemon", "adopt", "cli"} <= set(MAY_IMPORT)
