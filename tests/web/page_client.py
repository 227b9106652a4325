"""A browser for tests of the page: it asks the application itself, without a network."""

import re
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the library under it another version is wanted, with the same interface
    from starlette.testclient import TestClient

HERE = "http://127.0.0.1:8470"


class Browser(TestClient):
    """A browser on this machine; `origin` is what it says of where its requests come from."""

    def __init__(self, app, base_url=HERE, client=("127.0.0.1", 50000)):
        super().__init__(app, base_url=base_url, follow_redirects=False, client=client)
        self.origin = base_url

    def send_form(self, path, headers=None, **fields):
        """A form that was sent from the page."""
        return self.post(path, data=fields, headers={"Origin": self.origin, **(headers or {})})

    def log_in(self, token, **headers):
        """Through the form, as a person does."""
        page = self.get("/login", headers=headers)
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
        return self.send_form("/login", token=token, csrf=csrf, next="/bans?jail=one", headers=headers)

    def csrf(self, **headers):
        """The token of the session, as the scripts of the page find it."""
        return re.search(r'<meta name="csrf" content="([^"]*)"', self.get("/", headers=headers).text)[1]

    def act(self, path, said, csrf=None, **headers):
        """What the page's scripts do to change something."""
        given = self.csrf() if csrf is None else csrf
        return self.post(path, json=said, headers={"Origin": self.origin, "X-CSRF-Token": given, **headers})
