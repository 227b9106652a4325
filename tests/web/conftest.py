"""The page: as an application without a network, and in a browser beside a daemon."""

import contextlib
import tempfile
from pathlib import Path

import pytest
from needs import CHROMIUM, needs
from running import running

from sipguard.web.app import make_app
from sipguard.web.options import PageOptions
from sipguard.web.token import Token
from tests.web.attacked import HOSTILE, PATIENCE, SIZES, attack, open_sockets
from tests.web.page_client import Browser
from tests.web.page_process import showing


class Clock:
    """Time that a test sets."""

    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """The page's clock."""
    return Clock()


@pytest.fixture
def token(tmp_path):
    """The token that opens the page."""
    return Token(tmp_path / "web").make()


@pytest.fixture
def page(tmp_path, clock):
    """Make a page; without a daemon, unless `read_socket` names one's."""

    def make(**options):
        given = {"listen": "127.0.0.1:8470", "read_socket": tmp_path / "no.sock", "state_dir": tmp_path / "web"}
        return make_app(PageOptions(**{**given, **options}), clock)

    return make


@pytest.fixture
def browser(page, token):
    """One that is logged in."""
    one = Browser(page())
    assert one.log_in(token).status_code == 303
    return one


@pytest.fixture(scope="module")
@needs("browser")
def chromium():
    """One browser for all tests; `evil.example` leads to this machine."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder():
    """Others may pass through: the page is another user."""
    with tempfile.TemporaryDirectory(prefix="sipguard-web-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture(scope="module")
def daemon(folder):
    """A daemon that has been attacked under hostile names; and a jail that lacks its log."""
    log = folder / "freeswitch.log"
    log.touch()
    jails = {
        "freeswitch": {"logpath": str(log), "bantime": 600, "maxretry": 3},
        "asterisk": {"logpath": str(folder / "nothing.log")},
    }
    with running(folder / "daemon", jails) as one:
        one.server_log = log
        open_sockets(one)
        for address, user in HOSTILE.items():
            attack(one, address, user)
        one.wait_for(lambda: len(one.banned("freeswitch")) == len(HOSTILE))
        yield one


@pytest.fixture(scope="module")
def site(daemon, folder):
    """The page with `--write`."""
    write = ("--write", "--write-socket", daemon.socket)
    with showing(folder / "web", "--socket", daemon.read_socket, *write) as page:
        yield page


@pytest.fixture(scope="module")
def read_only(daemon, folder):
    """The page without; its sessions are short."""
    with showing(folder / "reading", "--socket", daemon.read_socket, "--idle", "4s") as page:
        yield page


@pytest.fixture
def window(chromium):
    """Open a window on a page, logged in unless told otherwise. What its console complains of fails the test."""
    with contextlib.ExitStack() as stack:
        complaints = []

        def open_window(site, path="/", *, login=True, size=SIZES[1], scheme="light", quiet=True):
            context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
            stack.callback(context.close)
            tab = context.new_page()
            tab.set_default_timeout(PATIENCE)
            tab.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
            if quiet:
                tab.on("pageerror", lambda error: complaints.append(str(error)))
                # 429: on a busy machine too many questions wait, and the page asks again.
                tab.on(
                    "console",
                    lambda said: (
                        complaints.append(said.text)
                        if said.type == "error" and "status of 429" not in said.text
                        else None
                    ),
                )
            if login:
                name, _, value = site.log_in().partition("=")
                context.add_cookies([{"name": name, "value": value, "url": site.url, "httpOnly": True}])
            tab.goto(site.url + path)
            return tab

        yield open_window
        assert complaints == []
