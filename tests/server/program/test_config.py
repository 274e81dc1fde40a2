"""Settings: their sources, the precedence of sources, and the messages for bad values."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backup_sharing.config import ENVIRONMENT_PREFIX, Settings, load

NEEDED = ("--database", "d.db", "--tokens", "t.json")

Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(ENVIRONMENT_PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Load invalid settings; return the error message."""

    def refused(*arguments: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            load(arguments)
        assert exit_.value.code == 2
        return capsys.readouterr().err

    return refused


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "settings.toml"
        path.write_text(text)
        return str(path)

    return write


def test_settings_that_are_missing_are_all_named(refused: Refused) -> None:
    said = refused()
    assert "--database (BACKUP_SHARING_DATABASE): is missing" in said
    assert "--tokens (BACKUP_SHARING_TOKENS): is missing" in said


def test_all_bad_settings_are_named_at_once_from_any_source(
    refused: Refused, file: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKUP_SHARING_READ_THREADS", "none")
    path = file("max_recipients = 0\nmax_recipient = 5")
    said = refused("--config", path, "--log-level", "loud")
    named = {line.split(" ")[0] for line in said.splitlines()}
    assert named == {
        "--database",
        "--tokens",
        "--read-threads",
        "--max-recipients",
        f"{path}:",
        "--log-level",
    }


def test_an_unknown_key_of_the_file_is_named(refused: Refused, file: Callable[[str], str]) -> None:
    assert "no_such_setting: there is no such setting" in refused(*NEEDED, "--config", file("no_such_setting = 1"))


def test_an_unknown_table_in_the_file_is_named(refused: Refused, file: Callable[[str], str]) -> None:
    said = refused(*NEEDED, "--config", file("[servers]\nlog_level = 'info'"))
    assert said.endswith("settings.toml: [servers]: there is no such section; did you mean [server]?\n")


@pytest.mark.parametrize("text", ["= 1", "log_level = ", "\x00", 'log_level = "info"\nlog_level = "info"'])
def test_a_file_that_is_no_toml_is_named(refused: Refused, file: Callable[[str], str], text: str) -> None:
    assert "settings.toml" in refused(*NEEDED, "--config", file(text))


def test_a_file_that_is_not_there_is_named(refused: Refused) -> None:
    assert "--config: no-such-file.toml: " in refused(*NEEDED, "--config", "no-such-file.toml")


def test_an_unknown_flag_is_named(refused: Refused) -> None:
    assert "--no-such-flag" in refused(*NEEDED, "--no-such-flag", "1")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--max-recipients", "0"),
        ("--max-recipients", "many"),
        ("--max-active-sharings", "-1"),
        ("--on-conflict", "ignore"),
        ("--idempotency-key-lifetime", "0"),
        ("--commit-margin", "-0.1"),
        ("--max-concurrent-calls", "0"),
        ("--max-waiting-changes", "0"),
        ("--read-threads", "0"),
        ("--busy-timeout", "-1"),
        ("--drain-notice", "-1"),
        ("--drain-timeout", "-1"),
        ("--commit-margin", "nan"),
        ("--drain-timeout", "inf"),
        ("--idempotency-key-lifetime", "inf"),
        ("--busy-timeout", "inf"),
        ("--grpc-listen", ""),
        ("--grpc-listen", "50051"),
        ("--grpc-listen", ":50051"),
        ("--grpc-listen", "127.0.0.1"),
        ("--grpc-listen", "127.0.0.1:65536"),
        ("--grpc-listen", "127.0.0.1:-1"),
        ("--grpc-listen", "127.0.0.1:http"),
        ("--grpc-listen", "127.0.0.1:٣"),
        ("--grpc-listen", "unix:"),
    ],
)
def test_a_bad_value_is_named_with_its_setting_and_its_variable(refused: Refused, flag: str, value: str) -> None:
    said = refused(*NEEDED, f"{flag}={value}")
    assert f"{flag} (BACKUP_SHARING_{flag[2:].replace('-', '_').upper()}): " in said
    assert repr(value) in said


@pytest.mark.parametrize("address", ["[::1]:50051", "localhost:0", "unix:/run/s", "unix:s:1"])
def test_addresses_are_accepted(address: str) -> None:
    assert load((*NEEDED, "--grpc-listen", address)).grpc_listen == address


TLS = ("--tls-certificate", "c.pem", "--tls-key", "k.pem")


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "example.org:1"])
def test_beyond_loopback_it_needs_tls_or_the_word_insecure(refused: Refused, address: str) -> None:
    said = refused(*NEEDED, "--grpc-listen", address)
    assert [line.split(" ")[0] for line in said.splitlines()] == ["--tls-certificate", "--tls-key"]
    assert "--insecure" in said
    for enough in (TLS, ("--insecure",)):
        assert load((*NEEDED, "--grpc-listen", address, *enough)).grpc_listen == address


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (("--tls-key", "k"), ["--tls-certificate"]),
        (("--tls-certificate", "c"), ["--tls-key"]),
        (("--client-ca", "c"), ["--tls-certificate", "--tls-key"]),
        (("--client", "n=service"), ["--tls-certificate", "--tls-key", "--client-ca"]),
        ((*TLS, "--gateway-peer", "n"), ["--client-ca"]),
        (("--proxy-credentials", "p"), ["--gateway-peer"]),
        (("--health-listen", "127.0.0.1:50051"), ["--health-listen"]),
        (("--admin-listen", "0.0.0.0:1"), ["--admin-allow"]),
        (("--admin-listen", "127.0.0.1:7", "--health-listen", "127.0.0.1:7"), ["--admin-listen"]),
        (("--keystone-url", "http://keystone.example.org:5000"), ["--keystone-url"]),
        (("--keystone-ca", "c"), ["--keystone-url"]),
        (("--keystone-url", "http://127.0.0.1:5000", "--keystone-ca", "c"), ["--keystone-url"]),
    ],
)
def test_what_is_half_set_is_refused_with_all_that_is_missing(
    refused: Refused, given: tuple[str, ...], missing: list[str]
) -> None:
    assert [line.split(" ")[0] for line in refused(*NEEDED, *given).splitlines()] == missing


def test_without_any_provider_it_does_not_start(refused: Refused) -> None:
    assert "callers need it" in refused("--database", "d")


@pytest.mark.parametrize("client", ["n", "=service", "n=owner", "n=member@", "n=member@a b"])
def test_a_client_has_a_name_and_a_role_and_perhaps_a_project(refused: Refused, client: str) -> None:
    assert "expected NAME=ROLE" in refused(*NEEDED, *TLS, "--client-ca", "c", "--client", client)


def test_what_is_not_set_has_its_default() -> None:
    settings = load(NEEDED)
    assert (settings.grpc_listen, settings.max_recipients, settings.commit_margin) == ("127.0.0.1:50051", 1000, 1.0)
    assert (settings.idempotency_key_lifetime, settings.max_active_sharings) == (86400, 1000)


def test_the_file_wins_over_the_default(file: Callable[[str], str]) -> None:
    assert load((*NEEDED, "--config", file("max_recipients = 3"))).max_recipients == 3


def test_the_environment_wins_over_the_file(file: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_SHARING_MAX_RECIPIENTS", "4")
    assert load((*NEEDED, "--config", file("max_recipients = 3"))).max_recipients == 4


def test_a_flag_wins_over_the_environment(file: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_SHARING_MAX_RECIPIENTS", "4")
    arguments = (*NEEDED, "--config", file("max_recipients = 3"), "--max-recipients", "5")
    assert load(arguments).max_recipients == 5


def test_the_file_may_be_named_in_the_environment(file: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_SHARING_CONFIG", file("max_recipients = 3"))
    assert load(NEEDED).max_recipients == 3


def test_everything_may_be_in_the_file(file: Callable[[str], str]) -> None:
    settings = load(("--config", file('database = "d.db"\ntokens = "t.json"\nstop_on_stdin_close = true')))
    assert (settings.database, settings.stop_on_stdin_close) == ("d.db", True)


def test_variables_of_other_programs_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_SHARING_UPSTREAM", "127.0.0.1:1")
    monkeypatch.setenv("BACKUP_SHARING_TOKEN", "secret")
    assert load(NEEDED).grpc_listen == "127.0.0.1:50051"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_help_names_every_setting_and_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        load(("--help",))
    assert exit_.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"--{name.replace('_', '-')}" in said
    assert str(Settings.model_fields[name].description).split(";")[0][:40] in said


@pytest.mark.parametrize("given", ["--keystone-user", "--keystone-password-file", "--keystone-project"])
def test_a_half_set_keystone_user_is_refused_with_all_it_lacks(refused: Refused, given: str) -> None:
    said = refused("--database", "d", "--tokens", "t", given, "x")
    others = {"--keystone-url", "--keystone-user", "--keystone-password-file", "--keystone-project"} - {given}
    assert {line.split(" ", 1)[0] for line in said.splitlines()} == others
    assert all("is missing beside the other settings of the service user" in line for line in said.splitlines())


def test_keystone_alone_is_enough() -> None:
    settings = load(["--database", "d", "--keystone-url", "http://127.0.0.1:5000"])
    assert settings.tokens is None


@pytest.mark.parametrize("role", ["member", "=member", "vbs=owner", "vbs="])
def test_a_role_of_keystone_is_mapped_to_one_of_ours(refused: Refused, role: str) -> None:
    assert "--keystone-role" in refused("--database", "d", "--tokens", "t", "--keystone-role", role)


@pytest.mark.parametrize("flag", ["--keystone-service-project", "--keystone-admin-project"])
def test_projects_whose_roles_reach_further_are_named_by_id(refused: Refused, flag: str) -> None:
    settings = load((*NEEDED, flag, "a" * 32, flag, "ops"))
    assert getattr(settings, flag[2:].replace("-", "_")) == ["a" * 32, "ops"]
    assert f"{flag} " in refused(*NEEDED, flag, "my project")
