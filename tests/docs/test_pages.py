"""The pages of the documentation: all are found, no link is dead, and sentences are short."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import prose
import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NAV = re.findall(r"^\s+- ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
MADE = {"commands.md"}
"""Pages that are made when the site is built."""
PAGES = [*sorted(DOCS.glob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def _anchors(page):
    """As GitHub and the site's generator name headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", re.sub(r"[`*]", "", one)).strip().lower().replace(" ", "-") for one in headings}


def test_no_page_is_lost():
    """Each page stands once in the order of mkdocs.yml, and each that stands there is there."""
    assert sorted(NAV) == sorted({*NAV})
    assert set(NAV) - MADE == {page.name for page in DOCS.glob("*.md")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_is_dead(page):
    """Files and their headings; what is elsewhere is not asked."""
    dead = []
    for target in _LINK.findall(_FENCE.sub("", page.read_text())):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sentences_are_short(page):
    """At most 25 words: who reads them may have been woken by an alarm."""
    long = [f"{page.name}:{one.line}: {one.words} words: {one.text}" for one in prose.too_long(page.read_text())]
    assert long == []


def test_long_sentences_are_found():
    """The check above can fail: code, cells and list items are told apart, and lines are right."""
    words = "word " * 26
    page = (
        f"# Title\n\nShort. `code: {words}`\n\n```\n{words}\n```\n\n- {words}\n| {words} | a cell |\nSee e.g. this.\n"
    )
    assert [(one.line, one.words) for one in prose.too_long(page)] == [(9, 26), (10, 26)]


@pytest.mark.site
def test_site_is_built(tmp_path):
    """Without a warning, with every page and every command of the program."""
    folder = str(Path(sys.executable).parent)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("zensical", path=path) is None:
        pytest.skip("needs zensical")
    done = subprocess.run(
        [ROOT / "packaging/build-docs", tmp_path / "site"],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr
    assert {Path(name).stem for name in NAV} <= {one.stem for one in (tmp_path / "site").glob("*.html")}
    assert "sipguard service install" in (tmp_path / "site/commands.html").read_text()
