"""The page as an application, without a network: who is let in, and what is answered."""

import pytest

from sipguard.web.app import make_app
from sipguard.web.options import PageOptions
from sipguard.web.token import Token
from tests.web.page_client import Browser


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
