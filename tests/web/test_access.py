"""Who is let in: tokens, sessions, the name of the host, other sites, proxies."""

import json
import re
import stat

import pytest

from sipguard.errors import SipguardError
from sipguard.web.options import PageOptions
from sipguard.web.sessions import ALL_TRIES, TRIES, WINDOW, PageSessions, WrongTokens
from sipguard.web.token import Token
from tests.web.page_client import HERE, Browser

PAGES = ("/", "/bans", "/history", "/jails", "/feeds", "/fleet", "/address?address=203.0.113.5")
QUESTIONS = ("bans", "history", "address", "jails", "advice", "feeds", "fleet", "events")


def test_a_stranger_sees_the_login_and_nothing_else(page, token):
    """Pages lead to the form, questions are refused; what the form itself needs is given."""
    stranger = Browser(page())
    for path in PAGES:
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login")
    for name in QUESTIONS:
        assert stranger.get(f"/api/{name}").status_code == 401
    for name in ("ban", "unban"):
        assert stranger.act(f"/api/{name}", {"address": "203.0.113.5"}, csrf="x").status_code == 401
    assert stranger.get("/static/page.css").status_code == 200
    assert stranger.get("/static/..%2fapp.py").status_code in (404, 303, 401)
    assert "token" in stranger.get("/login").text


def test_the_token_opens_it(page, token):
    """And leads to where one wanted to go; the cookie is out of reach for scripts and for other sites."""
    browser = Browser(page())
    answer = browser.log_in(token)
    assert (answer.status_code, answer.headers["location"]) == (303, "/bans?jail=one")
    cookie = answer.headers["set-cookie"]
    assert re.match(r"sipguard=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict", cookie)
    for path in PAGES:
        assert browser.get(path).status_code == 200


@pytest.mark.parametrize(
    "target", ["//evil.example/", "https://evil.example/", "/\\evil.example", "/static/x", "/login"]
)
def test_the_login_leads_to_no_other_site(page, token, target):
    """An address that somebody has sent may name one."""
    browser = Browser(page())
    csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get("/login", params={"next": target}).text)[1]
    assert browser.send_form("/login", token=token, csrf=csrf, next=target).headers["location"] == "/"


@pytest.mark.parametrize(
    "wrong", ["", "x", "é\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"), "x" * 5000]
)
def test_another_token_does_not(page, token, wrong):
    """However it looks."""
    browser = Browser(page())
    assert browser.log_in(wrong).status_code == 403
    assert browser.get("/").status_code == 303


def test_without_a_token_nobody_is_let_in(page, tmp_path):
    """And the page says how to make one; an empty or broken file is none."""
    browser = Browser(page())
    assert "sipguard web token" in browser.get("/login").text
    for text in ("", "{}", '{"sha256": ""}', '{"sha256": null}', "[]"):
        (tmp_path / "web").mkdir(exist_ok=True)
        (tmp_path / "web" / "token.json").write_text(text)
        one = Browser(page())
        assert one.log_in("None").status_code == 403
        assert one.log_in("").status_code == 403


def test_only_a_hash_is_kept(token, tmp_path):
    """Of what was shown once; and for its owner alone."""
    kept = tmp_path / "web" / "token.json"
    assert token not in kept.read_text()
    assert set(json.loads(kept.read_text())) == {"sha256", "made"}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_wrong_tokens_are_limited(page, token, clock):
    """Five from an address, then even the right one waits; the wait is told and ends."""
    browser = Browser(page())
    for _ in range(TRIES):
        assert browser.log_in("wrong").status_code == 403
    answer = browser.log_in(token)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) == WINDOW + 1
    clock.now += WINDOW + 1
    assert browser.log_in(token).status_code == 303


def test_many_addresses_have_a_limit_together(clock):
    """And what is remembered of them has a bound."""
    attempts = WrongTokens(clock)
    for number in range(ALL_TRIES):
        assert attempts.wait(f"2001:db8::{number:x}") == 0
        attempts.failed(f"2001:db8::{number:x}")
    assert attempts.wait("203.0.113.5") == WINDOW
    clock.now += WINDOW + 1
    assert attempts.wait("203.0.113.5") == 0


def test_a_session_ends_unused(browser, clock):
    """After half an hour; each request begins it anew."""
    for _ in range(3):
        clock.now += 1700
        assert browser.get("/bans").status_code == 200
    clock.now += 1801
    assert browser.get("/bans").status_code == 303


def test_a_session_ends_at_last(browser, clock):
    """After twelve hours, however much it is used."""
    for _ in range(25):
        clock.now += 1700
        assert browser.get("/bans").status_code == 200
    clock.now += 1000
    assert browser.get("/api/bans").status_code == 401


def test_an_open_stream_is_no_use_of_a_session(clock):
    """A page that is left open logs out all the same: only what a person does counts."""
    sessions = PageSessions(idle=100, longest=1000, clock=clock)
    session = sessions.begin("x", "generation")
    clock.now += 90
    assert sessions.find(session.key, "generation", use=False)
    clock.now += 20
    assert not sessions.alive(session, "generation")


def test_what_a_page_asks_by_itself_is_no_use_of_a_session(browser, clock):
    """The lists that follow what happens would keep it alive for as long as the page is open."""
    by_itself = {"X-Unasked": "yes"}
    for seconds, status in ((900, 503), (890, 503), (20, 401)):
        clock.now += seconds
        assert browser.get("/api/feeds", headers=by_itself).status_code == status


def test_a_new_token_ends_every_session(browser, tmp_path):
    """Whoever had the old one is out."""
    assert browser.get("/").status_code == 200
    Token(tmp_path / "web").make()
    assert browser.get("/").status_code == 303


def test_logging_out(browser):
    """Needs the session's own token, and ends it for good: the cookie alone is worth nothing then."""
    kept = dict(browser.cookies)
    assert browser.send_form("/logout", csrf="x").status_code == 403
    assert browser.send_form("/logout", csrf=browser.csrf()).status_code == 303
    browser.cookies.update(kept)
    assert browser.get("/").status_code == 303


def test_sessions_are_bounded(clock):
    """The one that was used longest ago goes first."""
    sessions = PageSessions(idle=100, longest=1000, clock=clock)
    first = sessions.begin("x", "g")
    others = [sessions.begin("x", "g") for _ in range(1000)]
    assert sessions.find(first.key, "g") is None
    assert sessions.find(others[0].key, "g")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8470", "127.0.0.1", "127.0.0.1:80", "127.0.0.1.evil.example:8470", "", "[::1]:9"],
)
def test_another_name_is_refused(browser, host):
    """A name of the attacker's that leads to this machine (DNS rebinding), for everything there is."""
    for path in ("/", "/login", "/static/page.css", "/api/bans"):
        assert browser.get(path, headers={"Host": host}).status_code == 421
    assert browser.post("/api/unban", json={}, headers={"Host": host, "Origin": f"http://{host}"}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8470", "LOCALHOST:8470", "[::1]:8470", "guard.example"])
def test_own_names_are_known(page, token, host):
    """Loopback with the page's own port, and what `--host` names."""
    browser = Browser(page(hosts=("guard.example",)))
    assert browser.get("/login", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:8471"},
        {"Origin": f"{HERE}.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_another_site_changes_nothing(page, token, tmp_path, headers):
    """Neither bans, nor logs in or out, though the browser might bring the cookie along."""
    browser = Browser(page(write_socket=tmp_path / "no.sock"))
    browser.log_in(token)
    csrf = browser.csrf()
    for path in ("/api/ban", "/api/unban", "/login", "/logout"):
        answer = browser.post(path, json={"address": "203.0.113.5"}, headers={**headers, "X-CSRF-Token": csrf})
        assert (answer.status_code, answer.text) == (403, "this request comes from another site\n")


def test_without_the_csrf_token_nothing_is_changed(page, token, tmp_path):
    """Though it comes from our own origin; nor with that of another session."""
    app = page(write_socket=tmp_path / "no.sock")
    browser, other = Browser(app), Browser(app)
    browser.log_in(token)
    other.log_in(token)
    for csrf in ("", "x", other.csrf()):
        assert browser.act("/api/unban", {"address": "203.0.113.5"}, csrf=csrf).status_code == 403
    # With the right one it is the daemon that is missing.
    assert browser.act("/api/unban", {"address": "203.0.113.5"}).status_code == 503


def test_the_login_form_is_ours(page, token):
    """Nobody logs a browser in with a form of his own."""
    browser = Browser(page())
    browser.get("/login")
    assert browser.send_form("/login", token=token, csrf="x").status_code == 403
    assert browser.send_form("/login", token=token).status_code == 403
    stranger = Browser(page())
    assert stranger.send_form("/login", token=token, csrf="").status_code == 403


def test_without_write_nothing_is_changed(browser):
    """The page says so, before anything is asked of the daemon."""
    answer = browser.act("/api/ban", {"address": "203.0.113.5"})
    assert answer.status_code == 403
    assert "--write" in answer.json()["error"]
    assert '<meta name="write" content="no">' in browser.get("/").text


def test_every_answer_is_closed_to_others(browser):
    """No inline script, no other origin, no frame, no CORS, nothing kept in caches; errors too."""
    answers = [
        browser.get(path) for path in ("/", "/login", "/static/page.css", "/api/bans", "/nowhere", "/api/nowhere")
    ]
    answers += [browser.get("/", headers={"Host": "x"}), browser.post("/api/ban"), browser.options("/api/bans")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["cache-control"] == ("no-cache" if "/static/" in str(answer.url) else "no-store")
        assert "server" not in answer.headers


def test_no_page_has_script_or_style_within(browser):
    """The policy would forbid it."""
    stranger = Browser(browser.app)
    for text in [browser.get(path).text for path in PAGES] + [stranger.get("/login").text]:
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
        assert all(re.search(r'src="/static/\w+\.js"', tag) for tag in re.findall(r"<script[^>]*>", text))
        assert not re.search(r"(?:src|href)=\"?https?:", text)


def test_markup_in_values_is_text(page, tmp_path):
    """The name that a proxy gives, the target of a login: nothing of it is markup."""
    evil = '"><script>alert(1)</script>'
    browser = Browser(page(listen="/run/x.sock", user_header="x-user"), base_url="http://localhost")
    text = browser.get("/", headers={"x-user": evil}).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert evil not in browser.get("/login", params={"next": evil}).text


def test_a_long_body_is_refused(browser):
    """Bytes, whatever length they say to have."""
    answer = browser.post("/api/ban", content=b"x" * 17000, headers={"Origin": HERE})
    assert answer.status_code == 413


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(browser, method):
    """GET and POST are all that there is."""
    assert browser.request(method, "/api/bans").status_code == 405


# Proxies.


def test_a_proxys_user_is_let_in_from_its_address(page, token):
    """And from no other: there the header is nobody's word."""
    options = {"proxies": ("127.0.0.1",), "user_header": "X-Remote-User", "hosts": ("guard.example",)}
    app = page(**options)
    proxy = Browser(app, base_url="https://guard.example")
    answer = proxy.get("/", headers={"X-Remote-User": "alice"})
    assert answer.status_code == 200
    assert "logged in as alice" in answer.text
    assert re.match(
        r"__Host-sipguard=[\w-]{43}; Path=/; HttpOnly; SameSite=Strict; Secure", answer.headers["set-cookie"]
    )
    other = Browser(app, base_url="https://guard.example", client=("127.0.0.2", 50000))
    assert other.get("/", headers={"X-Remote-User": "alice"}).status_code == 403


def test_a_user_header_is_nothing_without_a_proxy(page, token):
    """A browser can send it as well."""
    with pytest.raises(SipguardError, match="--user-header"):
        page(user_header="X-Remote-User")
    # One that is not configured is not looked at, wherever it comes from.
    browser = Browser(page(listen="/run/x.sock"), base_url="http://localhost")
    assert browser.get("/", headers={"X-Remote-User": "alice"}).status_code == 303


def test_on_a_unix_socket_the_proxy_is_believed(page, token):
    """Its permissions say who may reach it. When it names nobody any more, or another, the session is not his."""
    app = page(listen="/run/x.sock", user_header="X-Remote-User", hosts=("guard.example",))
    browser = Browser(app, base_url="https://guard.example")
    assert browser.get("/", headers={"X-Remote-User": "alice"}).status_code == 200
    assert browser.get("/").status_code == 303
    assert "logged in as bob" in browser.get("/", headers={"X-Remote-User": "bob"}).text
    assert browser.log_in(token).status_code == 303
    assert "logged in as the page" in browser.get("/").text


def test_a_proxys_user_needs_the_csrf_token_too(page, tmp_path):
    """Logging in is the proxy's affair, what a request means is ours."""
    app = page(
        listen="/run/x.sock", user_header="X-Remote-User", hosts=("guard.example",), write_socket=tmp_path / "no"
    )
    browser = Browser(app, base_url="https://guard.example")
    named = {"X-Remote-User": "alice"}
    csrf = browser.csrf(**named)
    assert browser.act("/api/unban", {"address": "203.0.113.5"}, csrf="x", **named).status_code == 403
    assert browser.act("/api/unban", {"address": "203.0.113.5"}, csrf=csrf, **named).status_code == 503


def test_wrong_tokens_behind_a_proxy_are_the_browsers(page, token):
    """By the address that the proxy has seen, not the one that the browser says of itself."""
    browser = Browser(page(listen="/run/x.sock", hosts=("guard.example",)), base_url="https://guard.example")
    for number in range(TRIES):
        forged = {"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.5"}
        assert browser.log_in("wrong", **forged).status_code == 403
    assert browser.log_in(token, **{"X-Forwarded-For": "198.51.100.77, 203.0.113.5"}).status_code == 429
    assert browser.log_in(token, **{"X-Forwarded-For": "203.0.113.6"}).status_code == 303


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"listen": "0.0.0.0:8470"}, "whoever can reach it"),
        ({"listen": "192.0.2.1:8470"}, "whoever can reach it"),
        ({"listen": "8470"}, "no address"),
        ({"listen": "127.0.0.1:x"}, "write an address and a port"),
        ({"listen": "127.0.0.1:70000"}, "write an address and a port"),
        ({"proxies": ("proxy.example",)}, "no address"),
    ],
)
def test_what_would_be_open_is_not_started(tmp_path, options, told):
    """In one line."""
    given = {"listen": "127.0.0.1:8470", "read_socket": tmp_path / "x", **options}
    with pytest.raises(SipguardError, match=told):
        PageOptions(**given)
