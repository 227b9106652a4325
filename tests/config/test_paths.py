"""Packaged files are found in a checkout and in an installed package."""

from pathlib import Path

from sipguard.config import paths


def test_checkout():
    """A checkout has them at its top level."""
    assert paths.packaged("jails") == Path(__file__).resolve().parents[2] / "jails"
    assert (paths.packaged("jails") / "asterisk.toml").is_file()


def test_installed(tmp_path, monkeypatch):
    """An installed package has them inside; then nothing beside the package is read."""
    package = tmp_path / "site-packages" / "sipguard"
    (package / "jails").mkdir(parents=True)
    (package.parent / "jails").mkdir()
    monkeypatch.setattr(paths, "_PACKAGE", package)
    assert paths.packaged("jails") == package / "jails"


def test_filter_directories(tmp_path):
    """The operator's come first."""
    assert paths.filter_directories(tmp_path)[0] == tmp_path / "filters.d"
