"""The page in Debian's Chromium for those who use no pointer or cannot see it; on a phone and on a desk."""

import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.web.attacked import SIZES, attack

pytestmark = pytest.mark.browser
PAGES = ("/", "/bans", "/history", "/jails", "/feeds", "/fleet", "/address?address=203.0.113.1", "/login")


def test_by_keyboard_alone(site, window):
    """The first key leads past the menu; every control can be reached and shows that it is."""
    tab = window(site, "/bans")
    tab.get_by_role("link", name="203.0.113.1", exact=True).wait_for()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to content"
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "search"
    reached = set()
    for _ in range(60):
        if tab.evaluate("document.activeElement === document.body"):
            break  # around once
        reached.add(
            tab.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")
        )
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        tab.keyboard.press("Tab")
    assert {"Search", "Ban an address", "203.0.113.1", "Unban 203.0.113.1"} <= reached


def test_what_has_the_focus_keeps_it(site, window, daemon):
    """While bans come, whoever reads by keyboard goes on where he was."""
    tab = window(site, "/")
    link = tab.locator("td .address").first
    link.wait_for()
    address = link.inner_text()
    link.focus()
    attack(daemon, "198.51.100.150")
    tab.get_by_role("link", name="198.51.100.150", exact=True).wait_for()
    assert tab.evaluate("document.activeElement.textContent") == address


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """axe-core, which looks for what keeps people with disabilities out. From npm, for these tests alone."""
    folder = tmp_path_factory.mktemp("axe")
    try:
        subprocess.run(
            ["npm", "pack", "--silent", "axe-core@4"],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=120,
            text=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"axe-core cannot be had from npm: {error}")
    with tarfile.open(next(folder.glob("axe-core-*.tgz"))) as packed:
        return packed.extractfile("package/axe.min.js").read().decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=["phone", "desk"])
def test_every_page_fits_and_bars_nobody(site, window, axe, size, scheme):
    """No page scrolls sideways, axe finds nothing serious; `SIPGUARD_SCREENSHOTS=DIR` keeps pictures to look at."""
    tab = window(site, size=size, scheme=scheme)
    pictures = os.environ.get("SIPGUARD_SCREENSHOTS")
    found = []
    for path in PAGES:
        if path == "/login":
            tab.context.clear_cookies()
        tab.goto(site.url + path)
        tab.locator("main").wait_for()
        for waiting in ("Waiting for sipguard", "Asking sipguard"):
            tab.get_by_text(waiting).wait_for(state="detached")
        time.sleep(0.3)
        name = f"{path.strip('/').partition('?')[0] or 'overview'}-{size[0]}-{scheme}"
        if pictures:
            tab.screenshot(path=Path(pictures) / f"{name}.png", full_page=True)
        wide = tab.evaluate("document.documentElement.scrollWidth")
        assert wide <= size[0], f"{name} is {wide} pixels wide"
        tab.evaluate(f"{axe}; 0")
        told = tab.evaluate(
            "async () => (await axe.run()).violations.map((one) => [one.impact, one.id, one.nodes[0].html])"
        )
        found += [(name, *one) for one in told if one[0] in ("serious", "critical")]
        print(name, "axe:", [one[:2] for one in told])
    assert found == []
