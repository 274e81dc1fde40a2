"""Secrets are refused on a command line and never shown in a message, for every source of settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import backup_sharing.config
import restmap_gateway.config
from backup_sharing.admin.cli import main
from programkit.secrets import redacted, secret_in

SECRET = "s3cr3t-hunter2"

WITH_SECRET = [
    f"postgresql://u:{SECRET}@h/db",
    f"postgres://u:{SECRET}@h1:1,h2:2/db?target_session_attrs=any",
    f"postgresql://h/db?user=u&password={SECRET}",
    f"postgresql://h/db?passw%6frd={SECRET}",
    f"postgresql://u:p@ss/{SECRET}@h/db",
    f"postgresql://u:p?{SECRET}@h/db",
    f"postgresql+psycopg://u:{SECRET}@h/db",
    f"POSTGRESQL://u:{SECRET}@h/db",
    f"host=h user=u password={SECRET}",
    f"host=h user=u PASSWORD = '{SECRET} and more'",
    f"https://u:{SECRET}@iam:5000",
    f"http://u:{SECRET}@[::1/",
    f"https://:{SECRET}@iam:5000/v3?x=1",
]
HARMLESS = [
    "sharing.db",
    "sqlite:///data/sharing.db",
    "postgresql://u@h:5432/db",
    "postgresql://h:5432/db?user=me@server",
    "postgresql://u@h1:1,h2:2/db",
    "https://iam.example.com:5000/v3",
    "dns:///server.internal:50051",
    "127.0.0.1:50051",
    "/etc/backup-sharing/password",
    "[::1]:50051",
]

PROGRAMS = pytest.mark.parametrize("program", [backup_sharing, restmap_gateway], ids=["server", "gateway"])


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(("BACKUP_SHARING_", "RESTMAP_GATEWAY_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Load invalid settings; return the error message."""

    def said(load: Callable[[list[str]], object], *arguments: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            load(list(arguments))
        assert exit_.value.code == 2
        return capsys.readouterr().err

    return said


@PROGRAMS
@pytest.mark.parametrize("value", WITH_SECRET)
@pytest.mark.parametrize(
    "option", ["--database", "--keystone-url", "--upstream", "--public-url", "--no-such", "--log-level"]
)
def test_a_password_on_the_command_line_is_refused(
    said: Callable[..., str], program: object, value: str, option: str
) -> None:
    load = program.config.load  # type: ignore[attr-defined]  # attribute of a package
    for arguments in ((option, value), (f"{option}={value}",), (option, "x", value)):
        printed = said(load, *arguments)
        assert "on the command line can be read by every user" in printed
        assert SECRET not in printed
        assert printed.startswith((f"{option}: ", "an argument: "))


@pytest.mark.parametrize("value", HARMLESS)
def test_values_without_a_password_are_taken(value: str) -> None:
    assert secret_in(["--database", value, f"--x={value}"]) is None


@pytest.mark.parametrize("value", [*WITH_SECRET, f"https://{SECRET}@iam"])
def test_a_message_does_not_repeat_a_password(value: str) -> None:
    for text in (value, f"expected this, got {value!r}", f"{value}\nand {value}"):
        assert SECRET not in redacted(text)


@pytest.mark.parametrize("setting", ["database", "keystone_url", "grpc_listen", "log_level", "read_threads", "client"])
@pytest.mark.parametrize("value", WITH_SECRET)
def test_a_refused_setting_is_not_shown_wherever_it_stood(
    said: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str, value: str
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f'{setting} = """{value}"""\nread_connections = 0\n')
    assert SECRET not in said(backup_sharing.config.load, "--config", str(path))
    monkeypatch.setenv(f"BACKUP_SHARING_{setting.upper()}", value)
    assert SECRET not in said(backup_sharing.config.load, "--read-connections", "0")


@pytest.mark.parametrize("setting", ["upstream", "public_url", "listen", "trusted_proxy", "timeout"])
@pytest.mark.parametrize("value", WITH_SECRET)
def test_a_refused_setting_of_the_gateway_is_not_shown(
    said: Callable[..., str], monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.setenv(f"RESTMAP_GATEWAY_{setting.upper()}", value)
    assert SECRET not in said(restmap_gateway.config.load, "--max-body", "0")


@PROGRAMS
def test_the_value_of_an_unknown_option_is_not_shown(said: Callable[..., str], program: object) -> None:
    printed = said(program.config.load, "--keystone-password", SECRET, f"--keystone-secret={SECRET}", SECRET)  # type: ignore[attr-defined]  # attribute of a package
    assert SECRET not in printed
    assert "--keystone-password" in printed


def test_a_url_with_a_password_may_stand_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = f"postgresql://u:{SECRET}@h/db"
    path = tmp_path / "settings.toml"
    path.write_text(f'database = "{url}"\ntokens = "t.json"\n')
    assert backup_sharing.config.load(["--config", str(path)]).database == url
    monkeypatch.setenv("BACKUP_SHARING_DATABASE", url)
    assert backup_sharing.config.load(["--tokens", "t.json"]).database == url


@pytest.mark.parametrize("value", [value for value in WITH_SECRET if not value.startswith("http")])
@pytest.mark.parametrize(
    "command",
    [
        ("migrate", "status", "--database"),
        ("migrate", "plan", "--database"),
        ("migrate", "apply"),
        ("backup", "--to", "file", "--database"),
        ("copy", "--from"),
        ("copy", "--from", "a.db", "--to"),
        ("no-such-command",),
        (),
    ],
)
def test_a_command_takes_no_password_on_its_command_line(command: tuple[str, ...], value: str) -> None:
    result = CliRunner().invoke(main, [*command, value])
    assert (result.exit_code, SECRET in result.output) == (2, False)
    assert "on the command line can be read by every user" in result.output


@pytest.mark.parametrize("value", [value for value in WITH_SECRET if not value.startswith("postgres")])
def test_a_command_does_not_repeat_a_password_of_the_environment(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BACKUP_SHARING_DATABASE", value)
    for command in (["migrate", "status"], ["backup", "--to", "file"]):
        result = CliRunner().invoke(main, command)
        assert (result.exit_code, SECRET in result.output) == (2, False)
