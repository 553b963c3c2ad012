"""Settings of a server: where they may come from, which comes first, and what is refused."""

from pathlib import Path

import pytest
import yaml

from lanner.core.errors import ConfigError
from server.database.engine import Database
from server.options import ServeOptions
from server.settings import Settings, keys
from server.settings_sources import CONFIG_VARIABLE, HIDDEN, as_yaml, merge

SECRET = "postgresql+psycopg://lanner:s3cret@db/lanner"


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "server.yaml"
        path.write_text(text)
        return path

    return write


def refused(*sources):
    with pytest.raises(ConfigError) as caught:
        merge(*sources)
    return caught.value


def test_nothing_said_is_the_defaults():
    found = merge({}, {})
    assert found.settings == Settings()
    assert set(found.sources.values()) == {"default"}


def test_the_command_line_comes_before_the_environment_and_that_before_the_file(file):
    path = file("http_port: 1\nmetrics_port: 1\ngrace: 1\norigin: [https://a, https://b]\n")
    variables = {
        "LANNER_SERVE_HTTP_PORT": "2",
        "LANNER_SERVE_METRICS_PORT": "2",
        "LANNER_SERVE_ORIGIN": "https://c",
        "HOME": "/",
    }
    found = merge({"http_port": 3, "grace": None}, variables, path)
    settings = found.settings
    assert (settings.http_port, settings.metrics_port, settings.grace) == (3, 2, 1.0)
    assert settings.origin == ("https://c",)
    assert found.sources["http_port"] == "--http-port"
    assert found.sources["metrics_port"] == "LANNER_SERVE_METRICS_PORT"
    assert found.sources["grace"] == str(path)
    assert found.sources["port"] == "default"


def test_what_the_file_turned_on_is_turned_off(file):
    path = file("allow_remote: true\nhttp_port: 8080\n")
    assert merge({}, {"LANNER_SERVE_ALLOW_REMOTE": "no"}, path).settings.allow_remote is False
    assert merge({"allow_remote": False}, {}, path).settings.allow_remote is False
    assert merge({}, {"LANNER_SERVE_HTTP_PORT": ""}, path).settings.http_port == 8080


def test_a_variable_names_the_file_unless_the_command_line_does(file, tmp_path):
    path = file("port: 7\n")
    variables = {CONFIG_VARIABLE: str(path)}
    assert merge({}, variables).settings.port == 7
    other = tmp_path / "other.yaml"
    other.write_text("")
    assert merge({}, variables, other).settings.port == Settings.port


def test_paths_of_a_file_are_beside_it_and_others_below_the_current_folder(file, tmp_path):
    path = file("root: [scenes, /archive]\ndata: state\ntoken_file: null\n")
    settings = merge(
        {"tls_key": Path("key.pem")}, {"LANNER_SERVE_TLS_CERT": "a.pem"}, path
    ).settings
    assert settings.root == (tmp_path / "scenes", Path("/archive"))
    assert (settings.data, settings.token_file) == (tmp_path / "state", None)
    assert (settings.tls_cert, settings.tls_key) == (Path("a.pem"), Path("key.pem"))


def test_lists_are_separated_by_commas_and_one_text_is_a_list_of_one(file):
    settings = merge(
        {}, {"LANNER_SERVE_ROOT": "/a, /b", "LANNER_SERVE_WARM": "x"}, file("origin: https://a\n")
    ).settings
    assert settings.root == (Path("/a"), Path("/b"))
    assert (settings.warm, settings.origin) == (("x",), ("https://a",))
    assert refused({}, {"LANNER_SERVE_ROOT": "/a,,/b"}).argument == "LANNER_SERVE_ROOT"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("port: yes", "port"),
        ("port: '8080'", "port"),
        ("port: null", "port"),
        ("port: 70000", "port"),
        ("host: 8080", "host"),
        ("grace: .nan", "grace"),
        ("per_device: 0", "per_device"),
        ("lease: -1", "lease"),
        ("origin: [1]", "origin"),
        ("warm: {2026-01-01: x}", "warm"),
        ("allow_remote: maybe", "allow_remote"),
    ],
)
def test_a_wrong_value_in_a_file_names_the_file_the_key_and_the_remedy(file, text, key):
    path = file(text)
    error = refused({}, {}, path)
    wanted = next(one for one in keys() if one.name == key)
    assert error.argument == key
    assert str(path) in error.problem
    assert error.remedy == f"give {wanted.form}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LANNER_SERVE_PORT", "abc"),
        ("LANNER_SERVE_HTTP_PORT", "-1"),
        ("LANNER_SERVE_GRACE", "inf"),
        ("LANNER_SERVE_ALLOW_PRIVATE", "perhaps"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(name, value):
    error = refused({}, {name: value})
    assert (error.argument, error.value) == (name, value)


def test_unknown_keys_and_variables_are_refused_with_the_nearest(file):
    error = refused({}, {}, file("http-port: 1\n"))
    assert (error.argument, error.remedy) == ("http-port", "did you mean 'http_port'?")
    error = refused({}, {"LANNER_SERVE_HTTPPORT": "1"})
    assert error.argument == "LANNER_SERVE_HTTPPORT"
    assert "LANNER_SERVE_HTTP_PORT" in error.remedy
    assert refused({}, {}, file("1: 2\n")).argument == "1"


@pytest.mark.parametrize("text", ["port", "- port", "port: 1\nport: 2\n", "a: b: c", "port: [1\n"])
def test_what_is_no_file_of_settings_is_refused(file, text):
    path = file(text)
    error = refused({}, {}, path)
    assert (error.argument, error.value) == ("config", path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    assert refused({}, {}, tmp_path / "none.yaml").argument == "config"
    (tmp_path / "latin.yaml").write_bytes(b"host: \xe4\n")
    assert refused({}, {}, tmp_path / "latin.yaml").argument == "config"


@pytest.mark.parametrize(
    "text", [f"database: ['{SECRET}']", f"database: a: {SECRET}", f"database: '{SECRET}\nport: 1"]
)
def test_a_secret_is_in_no_error(file, text):
    error = refused({}, {}, file(text))
    assert "s3cret" not in str(error)
    assert error.__cause__ is None or "s3cret" not in str(error.__cause__)


def test_what_is_printed_says_sources_hides_secrets_and_can_be_read_again(file, tmp_path):
    path = file(f"database: {SECRET}\nroot: ['a, b', c]\norigin: ['https://x']\n")
    merged = merge({"keep_results": 2.5, "host": "a: #b"}, {"LANNER_SERVE_PORT": "7"}, path)
    text = as_yaml(merged)
    assert "s3cret" not in text + repr(merged)
    lines = {line.split(":")[0]: line for line in text.splitlines()}
    assert list(lines) == [key.name for key in keys()]
    assert lines["port"] == "port: 7  # LANNER_SERVE_PORT"
    assert lines["grace"].endswith("# default")
    assert lines["database"] == f"database: {HIDDEN}  # {path}"
    again = tmp_path / "again.yaml"
    again.write_text(text.replace(HIDDEN, SECRET))
    assert merge({}, {}, again).settings == merged.settings
    assert yaml.safe_load(text)["host"] == "a: #b"


def test_a_server_in_a_program_has_the_same_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options, settings = ServeOptions(), Settings()
    for name in ("host", "port", "http_port", "per_device", "max_jobs", "max_streams"):
        assert getattr(options, name) == getattr(settings, name)
    assert (options.lease_s, options.grace_s) == (settings.lease, settings.grace)
    assert options.retention.results_s == settings.keep_results * 86400


@pytest.mark.parametrize(
    "url", ["lanner:s3cret@db", "postgresql+psycopg://lanner:s3cret@db:port/x", "none://a:s3cret@b"]
)
def test_a_url_that_is_none_is_not_shown(url):
    with pytest.raises(ConfigError) as caught:
        Database(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None or "s3cret" not in str(caught.value.__cause__)
