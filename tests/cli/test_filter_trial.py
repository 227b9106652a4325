"""`sipguard test-filter`: its kinds of LOG and FILTER, its JSON, its report, its exit status."""

import json

import pytest
from annotations import LOGS, SAMPLES
from command_line import sipguard

LINE = (
    "2026-11-21 20:18:00.902264 89.80% [WARNING] sofia_reg.c:1787 SIP auth failure (REGISTER) on sofia profile "
    "'internal' for [1000@192.0.2.10] from ip 203.0.113.66"
)


def run(*arguments, stdin="", timezone="UTC"):
    """Run the command as a user would."""
    return sipguard("test-filter", *arguments, stdin=stdin, timezone=timezone)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
def test_every_sample_agrees_with_its_annotations(sample):
    """One object per line; the matched ones are those that are annotated, with host and user."""
    done = run("--json", "--now", "2026-11-22T12:00:00+00:00", sample.log, sample.filter)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["line"] for line in lines] == list(range(1, len(sample.lines()) + 1))
    free = {e.line for e in sample.expected if not e.required}
    found = {line["line"]: (line["host"], line["user"]) for line in lines if line["matched"]}
    assert {n: f for n, f in found.items() if n not in free} == {
        e.line: (e.host, e.user) for e in sample.expected if e.required
    }


def test_json_has_the_interface_of_the_design():
    """Every key, in order, for one line given literally; times with their offset."""
    done = run("--json", LINE, "freeswitch", timezone="Europe/Zurich")
    assert json.loads(done.stdout) == {
        "line": 1,
        "matched": True,
        "ignored": False,
        "host": "203.0.113.66",
        "time": "2026-11-21T20:18:00+01:00",
        "user": "1000",
        "users": ["1000"],
        "attempts": 1,
        "regex": 0,
        "session": None,
        "reason": "wrong password",
    }


@pytest.mark.parametrize(
    ("log", "regex", "ignore", "status", "told"),
    [
        pytest.param(LINE, "from ip <HOST>$", [], 0, "1 failure of 1 address; 0 lines ignored, 0 missed", id="regex"),
        pytest.param(LINE, "nothing of <HOST>", [], 1, "0 failures of 0 addresses; 0 lines ignored, 1 missed", id="no"),
        pytest.param(LINE, "from ip <HOST>$", ["internal"], 1, "; 1 line ignored, 0 missed", id="ignored"),
        pytest.param("a\nb\n" + LINE, "from ip <HOST>$", [], 0, "1 failure of 1", id="several lines"),
    ],
)
def test_literal_log_and_regex(log, regex, ignore, status, told):
    """The quickest way to try a regex."""
    done = run(log, regex, *ignore)
    assert done.returncode == status, done.stderr
    assert told in done.stdout


def test_standard_input_and_missed_lines():
    """`-`, and --print-missed shows control bytes harmless."""
    done = run("-", "freeswitch", "--print-missed", stdin=f"{LINE}\nmissed \x1b[31mline\n")
    assert done.returncode == 0
    assert "2\tmissed \\x1b[31mline" in done.stdout
    assert "1 failure of 1 address; 0 lines ignored, 1 missed" in done.stdout


def test_a_filter_file_and_a_folder_of_fail2ban(tmp_path):
    """A path is a filter file; --fail2ban-dir has names in filter.d."""
    folder = tmp_path / "filter.d"
    folder.mkdir()
    file = folder / "mine.conf"
    file.write_text("[Definition]\nfailregex = from ip <HOST>$\n")
    assert run(LINE, file).returncode == 0
    assert run("--fail2ban-dir", tmp_path, LINE, "mine").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([LINE, "freeswich"], "sipguard: there is no filter 'freeswich'", id="unknown filter"),
        pytest.param([LINE, "from (<HOST>"], "sipguard: FILTER: failregex", id="broken regex"),
        pytest.param([LINE, "no address here$"], "sipguard: FILTER: failregex", id="nobody accused"),
        pytest.param(["/nowhere/x.log", "freeswitch"], "sipguard: /nowhere/x.log: no such file", id="no log"),
        pytest.param(["nowhere/x", "freeswitch"], "sipguard: nowhere/x: no such file", id="no log below here"),
        pytest.param(["nowhere.log", "freeswitch"], "sipguard: nowhere.log: no such file", id="no log here"),
        pytest.param(["--now", "tomorrow", LINE, "freeswitch"], "sipguard: --now tomorrow: not a time", id="no time"),
        pytest.param(["--encoding", "klingon", LINE, "freeswitch"], "sipguard: encoding 'klingon'", id="encoding"),
    ],
)
def test_wrong_calls(arguments, message):
    """One line that says what and how to mend it; exit status 2."""
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message), done.stderr
    assert done.stderr.count("\n") == 1


def test_a_log_in_which_nothing_counts_brings_the_advice_of_its_filter():
    """What the server should log instead, as `check` says it; programs and logs in which something counts get none."""
    log = LOGS / "asterisk22-messages.log"
    done = run(log, "asterisk")
    assert done.returncode == 1
    assert done.stderr.startswith(f"advice: {log}: no SECURITY events, so nothing in this log counts")
    assert (done.stderr.count("\n"), "{" in done.stderr) == (1, False)
    assert run("--json", log, "asterisk").stderr == run("-o", "ip", log, "asterisk").stderr == ""
    assert run(log, "asterisk[log=all]").stderr == run(LINE, "asterisk").stderr == ""


def test_a_regex_without_end_is_stopped(tmp_path):
    """It costs its line alone, and the report says so."""
    log = tmp_path / "x.log"
    log.write_text("a" * 5000 + "! 203.0.113.66\n" + "aaa 203.0.113.66\n")
    done = run(log, r"^(?:a|aa)+ <HOST>$")
    assert done.returncode == 0
    assert "gave up: a regex took too long" in done.stdout
