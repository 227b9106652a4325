"""What `sipguard enable` proposes for the machines in fixtures/machines."""

from __future__ import annotations

import re

import pytest
import toml
from command_line import sipguard
from machines import MACHINES, Tree

from sipguard.config.settings import load


@pytest.fixture
def tree(tmp_path):
    return lambda name: Tree(name, tmp_path)


def _written(tree, *arguments, status=0):
    """What `enable --yes` says, then sipguard.toml and each jail as it has written them."""
    done = sipguard("enable", "--root", tree.root, "--yes", *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    folder = tree.root / "etc/sipguard"
    main = toml.loads((folder / "sipguard.toml").read_text()) if (folder / "sipguard.toml").exists() else {}
    jails = {one.stem: toml.loads(one.read_text()) for one in (folder / "jails.d").glob("*.toml")}
    if "--no-wire" not in arguments:
        assert main["wire"] == {"enabled": True}
        assert jails.pop("sip")["enabled"] is True
    return done.stdout, main.get("defaults", {}).get("ignoreip"), jails


def test_vanilla_freeswitch(tree):
    """Its own password file serves; examples in comments and lists that nobody applies do not count."""
    machine = tree("freeswitch-vanilla")
    said, ignored, jails = _written(machine)
    assert jails == {"freeswitch": {"enabled": True, "events": "freeswitch://127.0.0.1:8021"}}
    assert ignored == ["sip.carrier-one.example", "203.0.113.20", "198.51.100.32/28"]
    assert "FreeSWITCH: package freeswitch, /usr/bin/freeswitch, /etc/freeswitch" in said
    assert "$${unknown_to_us}" in said.partition("Not proposed for ignoreip:")[2].partition("note:")[0]
    assert "has the password that everybody knows, ClueCon" in said


def test_a_password_that_others_can_read(tree):
    """It is copied to a file of sipguard's, and the operator is told."""
    machine = tree("fusionpbx")
    (machine.root / "etc/freeswitch/autoload_configs/event_socket.conf.xml").chmod(0o644)
    said, _, jails = _written(machine)
    assert jails["freeswitch"]["events_password_file"] == "/etc/sipguard/event-socket-password"
    file = machine.root / "etc/sipguard/event-socket-password"
    assert file.read_text() == "fusion-invented-Yx81\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "fusion-invented" not in said
    assert "event_socket.conf.xml can be read by everybody: chmod o= it" in said


def test_fusionpbx(tree):
    """Gateways come from files and from FusionPBX's cache, carriers from the list `providers`."""
    machine = tree("fusionpbx")
    any_address = "00000000"
    machine.process(
        812,
        "freeswitch",
        ("tcp", "0100007F", 8021, "0A"),
        ("tcp", any_address, 5080, "0A"),
        ("tcp", any_address, 2855, "0A"),
        ("tcp", any_address, 40001, "01"),
        ("udp", any_address, 20000, "07"),
    )
    said, ignored, jails = _written(machine)
    assert jails["freeswitch"]["port"][-2:] == ["2855", "5160"]
    assert "5060-5061" in jails["freeswitch"]["port"]
    assert ignored == ["198.51.100.77", "198.51.100.78", "sbc.carrier-three.example", "203.0.113.128/26"]
    assert "0.0.0.0/0 (/var/cache/fusionpbx/pbx1.configuration.acl.conf): too large a network" in said
    assert "FreeSWITCH: process 812, " in said
    assert "not-this-one" not in said


def test_ports_of_every_profile(tree):
    """One file may hold several, and a port may be a variable."""
    machine = tree("freeswitch-vanilla")
    machine.write(
        "/etc/freeswitch/sip_profiles/two.xml",
        '<profile name="a"><settings><param name="sip-port" value="5070"/></settings></profile>\n'
        '<profile name="b"><settings><param name="sip-port" value="$${second_port}"/></settings></profile>\n',
    )
    text = machine.text("/etc/freeswitch/vars.xml")
    machine.write(
        "/etc/freeswitch/vars.xml",
        text.replace("</include>", '<X-PRE-PROCESS cmd="set" data="second_port=5090"/></include>'),
    )
    _, _, jails = _written(machine)
    assert jails["freeswitch"]["port"][-2:] == ["5070", "5090"]


def test_freepbx(tree):
    """The manager user goes into the file that FreePBX leaves alone; bytes of another encoding stay."""
    machine = tree("freepbx")
    before = (machine.root / "etc/asterisk/manager_custom.conf").read_bytes()
    said, ignored, jails = _written(machine)
    assert jails["asterisk"]["events"] == "asterisk://sipguard@127.0.0.1:5038"
    assert jails["asterisk"]["port"][-1] == "5160"
    assert ignored == ["198.51.100.20", "198.51.100.21", "2001:db8:20::/48", "sip.carrier-one.example"]
    custom = machine.root / "etc/asterisk/manager_custom.conf"
    assert custom.read_bytes().startswith(before + b"\n\n; Made by `sipguard enable`")
    assert custom.stat().st_mode & 0o777 == 0o600
    secret = re.search(
        r"\[sipguard\]\nsecret = ([A-Za-z0-9]{32})\nread = security\ndeny = ",
        machine.text(str(custom.relative_to(machine.root))),
    )
    assert secret, said
    assert machine.text("/etc/sipguard/manager-password") == f"{secret[1]}\n"
    assert secret[1] not in said
    assert "write" not in machine.text("/etc/asterisk/manager_custom.conf").partition("[sipguard]")[2]
    assert "chan_sip" not in said
    assert machine.text("/etc/asterisk/manager.conf") == (MACHINES / "freepbx/etc/asterisk/manager.conf").read_text()


def test_freepbx_with_chan_sip(tree):
    """Peers and registrations are trunks, phones are not; chan_sip's dangers are told."""
    machine = tree("freepbx-chansip")
    said, ignored, jails = _written(machine)
    assert ignored == ["sip.carrier-five.example", "198.51.100.50"]
    assert jails["asterisk"]["port"][-1] == "5162"
    assert "chan_sip is in use" in said


def test_debian_asterisk(tree):
    """A file of its own in manager.d; networks with a netmask, templates, and comments of many lines."""
    machine = tree("asterisk-debian")
    _, ignored, jails = _written(machine)
    assert ignored == ["198.51.100.20/30", "gw.carrier-one.example"]
    assert "port" not in jails["asterisk"]
    own = machine.root / "etc/asterisk/manager.d/sipguard.conf"
    assert own.stat().st_mode & 0o777 == 0o600
    assert "[general]" not in own.read_text()
    assert "enabled" not in own.read_text()


def test_manager_interface_that_is_off(tree):
    """It is switched on for this machine alone, behind what the file says."""
    machine = tree("asterisk-samples")
    _written(machine)
    added = machine.text("/etc/asterisk/manager.conf").removeprefix(
        (MACHINES / "asterisk-samples/etc/asterisk/manager.conf").read_text()
    )
    assert "\n[general](+)\nenabled = yes\nbindaddr = 127.0.0.1\n\n[sipguard]\n" in added


def test_manager_interface_elsewhere(tree):
    """On an address of its own it is not reached over loopback: the log is read, and no user is made."""
    machine = tree("asterisk-debian")
    conf = machine.text("/etc/asterisk/manager.conf").replace("127.0.0.1", "192.0.2.10")
    machine.write("/etc/asterisk/manager.conf", conf)
    said, _, jails = _written(machine)
    assert jails == {"asterisk": {"enabled": True}}
    assert "its manager interface is at 192.0.2.10:5038" in said
    assert machine.text("/etc/asterisk/manager.conf") == conf


def test_kamailio(tree):
    """Ports from the script and from sockets, destinations into ignoreip, and the lines that are missing are told."""
    machine = tree("kamailio-debian")
    machine.process(
        91, "kamailio", ("udp", "00000000", 5062, "07"), ("udp6", "00000000000000000000000001000000", 5099, "07")
    )
    said, ignored, jails = _written(machine)
    assert jails == {"kamailio": {"enabled": True, "port": ["5060-5061", "5062", "5443"]}}
    assert ignored == ["198.51.100.91", "2001:db8:91::1", "media.carrier-nine.example"]
    assert "put the lines of docs/kamailio.md into it" in said


def test_opensips(tree):
    """A script that logs failures needs nothing more."""
    said, ignored, jails = _written(tree("opensips"))
    assert jails == {"opensips": {"enabled": True, "port": ["5060-5061", "5070"]}}
    assert ignored is None
    assert said.count("note:") == 1
    assert "SIP packets are watched too" in said


def test_without_the_wire(tree):
    """Logs and events alone, for whoever wants that."""
    said, _, jails = _written(tree("opensips"), "--no-wire")
    assert set(jails) == {"opensips"}
    assert "note:" not in said


def test_ports_of_the_wire(tree):
    """Its jail has those that the servers listen on besides the usual ones."""
    machine = tree("opensips")
    _written(machine)
    jail = toml.loads(machine.text("/etc/sipguard/jails.d/sip.toml"))
    assert jail == {"enabled": True, "port": ["5060-5061", "5080-5081", "5070"]}


@pytest.mark.parametrize(
    ("main", "jail"), [("[wire]\nenabled = false\n", "enabled = false\n"), ("[wire]\nrate = 900\n", "enabled = true\n")]
)
def test_a_wire_that_is_configured(tree, main, jail):
    """What the operator has said of it stays."""
    machine = tree("asterisk-debian")
    machine.write("/etc/sipguard/sipguard.toml", main)
    machine.write("/etc/sipguard/jails.d/sip.toml", jail)
    assert sipguard("enable", "--root", machine.root, "--yes").returncode == 0
    given = toml.loads(machine.text("/etc/sipguard/sipguard.toml"))["wire"]
    assert given == ({"enabled": False} if "false" in main else {"rate": 900, "enabled": True})
    assert machine.text("/etc/sipguard/jails.d/sip.toml") == jail


@pytest.mark.parametrize("name", sorted(one.name for one in MACHINES.iterdir() if one.is_dir()))
def test_what_is_written_can_be_run(tree, name, tmp_path, monkeypatch):
    """`check` has nothing against it but what is not on this machine: logs, and password files below the root."""
    machine = tree(name)
    said, _, jails = _written(machine)
    for one in (machine.root / "etc/sipguard/jails.d").glob("*.toml"):
        one.write_text(one.read_text().replace('"/etc/sipguard/', f'"{machine.root}/etc/sipguard/'))
    own = machine.root / "etc/freeswitch/autoload_configs/event_socket.conf.xml"
    monkeypatch.setattr("sipguard.config.events.password_of.__defaults__", ((own,),))
    main = machine.root / "etc/sipguard/sipguard.toml"
    main.touch()
    settings = load(main)
    assert settings.errors == ()
    assert {jail.name for jail in settings.jails} == {*jails, "sip"}, said
    again = sipguard("enable", "--root", machine.root, "--yes")
    assert again.returncode == 0


def test_twice(tree):
    """The second time there is nothing to write, and nothing is asked."""
    machine = tree("freepbx")
    _written(machine)
    before = machine.snapshot()
    done = sipguard("enable", "--root", machine.root)
    assert done.returncode == 0
    assert "Nothing to write" in done.stdout
    assert machine.snapshot() == before


def test_what_the_operator_has_written_stays(tree):
    """Keys and comments of his are kept, his addresses come after the new ones, and what he gives wins."""
    machine = tree("asterisk-debian")
    machine.write(
        "/etc/sipguard/sipguard.toml",
        '# mine\n[defaults]\nbantime = "1d" # a day\nignoreip = ["192.0.2.7"]\n\n[firewall]\nverdict = "drop"\n',
    )
    machine.write("/etc/sipguard/jails.d/asterisk.toml", '# mine too\nenabled = true\nmaxretry = 3\nport = "5060"')
    _, ignored, jails = _written(machine)
    assert ignored == ["198.51.100.20/30", "gw.carrier-one.example", "192.0.2.7"]
    main = machine.text("/etc/sipguard/sipguard.toml")
    assert main.startswith('# mine\n[defaults]\nbantime = "1d" # a day\nignoreip = ["198')
    assert jails["asterisk"]["maxretry"] == 3
    assert jails["asterisk"]["port"] == "5060"
    assert machine.text("/etc/sipguard/jails.d/asterisk.toml").startswith("# mine too\n")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            '[defaults]\nignoreip = "192.0.2.7 192.0.2.8"\n',
            "198.51.100.20/30, gw.carrier-one.example, 192.0.2.7 192.0.2.8",
        ),
        ("[defaults]\nignoreip = []\n", ["198.51.100.20/30", "gw.carrier-one.example"]),
        (
            '[defaults]\nignoreip = [\n  "192.0.2.7", # desk\n]\n',
            ["198.51.100.20/30", "gw.carrier-one.example", "192.0.2.7"],
        ),
        ("[defaults]\n# bantime\n", ["198.51.100.20/30", "gw.carrier-one.example"]),
        ("# only this\n", ["198.51.100.20/30", "gw.carrier-one.example"]),
        ('[firewall]\nverdict = "drop"', ["198.51.100.20/30", "gw.carrier-one.example"]),
    ],
)
def test_every_form_of_ignoreip(tree, given, expected):
    """A list in one line or in several, a text, none."""
    machine = tree("asterisk-debian")
    machine.write("/etc/sipguard/sipguard.toml", given)
    assert _written(machine)[1] == expected


def test_a_form_that_cannot_be_added_to(tree):
    """It is said where, and nothing is written."""
    machine = tree("asterisk-debian")
    machine.write("/etc/sipguard/sipguard.toml", 'defaults = { bantime = "1d" }\n')
    before = machine.snapshot()
    done = sipguard("enable", "--root", machine.root, "--yes")
    assert done.returncode == 2
    assert "/etc/sipguard/sipguard.toml: ignoreip cannot be added here by a program" in done.stderr
    assert machine.snapshot() == before


def test_disabled_by_the_operator(tree):
    """`enabled = false` stays until that server is named."""
    machine = tree("opensips")
    machine.write("/etc/sipguard/jails.d/opensips.toml", "enabled = false\n")
    said, _, jails = _written(machine)
    assert "`sipguard enable opensips` enables it" in said
    assert jails["opensips"] == {"enabled": False}
    assert _written(machine, "opensips")[2]["opensips"]["enabled"] is True


def test_no_server(tmp_path):
    """The answer is no, and what to do."""
    done = sipguard("enable", "--root", tmp_path)
    assert done.returncode == 1
    looks_for = "freeswitch, asterisk, kamailio, opensips"
    assert done.stderr == f"sipguard: no SIP server found below {tmp_path}; it looks for {looks_for}\n"


def test_a_server_that_was_removed(tree):
    """Configuration alone is what a removed package leaves: proposed only if that server is named."""
    machine = tree("asterisk-debian")
    (machine.root / "usr/sbin/asterisk").unlink()
    (machine.root / "var/lib/dpkg/info/asterisk.md5sums").unlink()
    assert sipguard("enable", "--root", machine.root, "--yes").returncode == 1
    assert "asterisk" in _written(machine, "asterisk")[2]


def test_a_user_that_is_there(tree):
    """A manager user of that name is used if he may read security events, and left alone if not."""
    machine = tree("asterisk-debian")
    machine.write("/etc/asterisk/manager.d/mine.conf", "[sipguard]\nsecret = mine-alone\nread = security,call\n")
    _, _, jails = _written(machine)
    assert machine.text("/etc/sipguard/manager-password") == "mine-alone\n"
    assert jails["asterisk"]["events"]
    assert not (machine.root / "etc/asterisk/manager.d/sipguard.conf").exists()


def test_a_user_that_may_not(tree):
    machine = tree("asterisk-debian")
    machine.write("/etc/asterisk/manager.d/mine.conf", "[sipguard]\nsecret = mine-alone\nread = call\n")
    said, _, jails = _written(machine)
    assert "user sipguard is there and may not read security events" in said
    assert "events" not in jails["asterisk"]


def test_fail2ban_beside_it(tree):
    """Whoever has Fail2ban is told of `adopt`."""
    machine = tree("opensips")
    machine.process(44, "fail2ban-server")
    assert "`sipguard adopt` takes over" in _written(machine)[0]
