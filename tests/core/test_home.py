"""Where configs/ and weights/ are looked for."""

from pathlib import Path

import pytest

from lanner.core import home
from lanner.core.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_variable_wins(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    monkeypatch.setenv(home.VARIABLE, str(tmp_path))
    assert home.configs_dir() == tmp_path / "configs"
    assert home.weights_dir() == tmp_path / "weights"


def test_a_variable_that_leads_nowhere_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv(home.VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match=r"LANNER_HOME .*gone.*configs/"):
        home.home()


def test_a_checkout_uses_its_own(monkeypatch):
    monkeypatch.delenv(home.VARIABLE, raising=False)
    assert home.home() == CHECKOUT


def test_an_installed_package_uses_its_own_data(tmp_path, monkeypatch):
    monkeypatch.delenv(home.VARIABLE, raising=False)
    package = tmp_path / "site-packages" / "lanner"
    # A neighbour's folder of that name is not ours.
    (package.parent / "configs").mkdir(parents=True)
    package.mkdir()
    monkeypatch.setattr(home, "files", lambda name: package)
    with pytest.raises(ConfigError, match=r"no configs"):
        home.home()
    (package / "data" / "configs").mkdir(parents=True)
    assert home.configs_dir() == package / "data" / "configs"
