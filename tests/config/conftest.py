"""A configuration folder of the test's own."""

import socket

import pytest

from sipguard.config.settings import load
from sipguard.errors import ConfigError
from sipguard.model import Filter


def any_filter(reference, directories):
    """Any filter but `none`, which no directory has."""
    if reference.startswith("none"):
        raise ConfigError(f"no filter named {reference}")
    if reference == "broken":
        raise ConfigError("failregex: no <HOST>", f"{directories[0]}/broken.conf:7")
    return Filter(name=reference, failregex=("x",))


SERVICES = {"ssh": 22, "http": 80, "https": 443}


@pytest.fixture(autouse=True)
def services(monkeypatch):
    """The services of /etc/services, which a bare Debian does not have (package netbase)."""

    def by_name(name):
        if name not in SERVICES:
            raise OSError("service/proto not found")
        return SERVICES[name]

    monkeypatch.setattr(socket, "getservbyname", by_name)


@pytest.fixture
def tree(tmp_path):
    """Writes files below a configuration folder and loads it; paths in messages are relative to it."""

    class Tree:
        directory = tmp_path
        read_filter = staticmethod(any_filter)

        def write(self, **files):
            for name, text in files.items():
                stem = name.removesuffix("_packaged")
                folder = "jails.d" if stem == name else "packaged"
                path = tmp_path / ("sipguard.toml" if name == "main" else f"{folder}/{stem}.toml")
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            return self

        def load(self, **files):
            self.write(main=files.pop("main", ""), **files)
            return load(tmp_path / "sipguard.toml", read_filter=any_filter, packaged_jails=tmp_path / "packaged")

        def messages(self, settings):
            return [str(error).replace(f"{tmp_path}/", "") for error in settings.errors]

    return Tree()
