"""``backup-sharing config`` and ``check-config``."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from backup_sharing.admin.cli import main
from backup_sharing.admin.settings import models
from programkit.settings.file import SECTIONS

NEEDED = 'database = "d.db"\ntokens = "t.json"\n'


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("BACKUP_SHARING_")]:
        monkeypatch.delenv(name)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def write(content: str) -> str:
        (tmp_path / "settings.toml").write_text(content, encoding="utf-8")
        return str(tmp_path / "settings.toml")

    return write


def uncommented(sample: str) -> dict[str, Any]:
    return tomllib.loads(re.sub(r"^#(\w+ = )", r"\1", sample, flags=re.MULTILINE))


def test_the_models_of_both_programs_are_found() -> None:
    assert tuple(models()) == SECTIONS


@pytest.mark.parametrize("arguments", [(), ("server",), ("gateway",)])
def test_the_schema_accepts_the_sample(arguments: tuple[str, ...]) -> None:
    schema = json.loads(run("config", "schema", *arguments).output)
    jsonschema.Draft202012Validator.check_schema(schema)
    sample = run("config", "sample", *arguments).output
    settings = uncommented(sample)
    for each in (settings, tomllib.loads(sample)):
        jsonschema.validate(each[arguments[0]] if arguments else each, schema)
    for section in arguments or SECTIONS:
        assert set(settings[section]) == set(models()[section].model_fields) - {"config"}


@pytest.mark.parametrize(
    "content",
    [
        {"server": {"max_recipients": 0}},
        {"server": {"max_recipients": "many"}},
        {"server": {"max_recipient": 1}},
        {"servr": {}},
        {"server": {"on_conflict": "ignore"}},
        {"server": {"client": 3}},
        {"gateway": {"timeout": 0}},
        {"server": []},
    ],
)
def test_the_schema_refuses_what_the_programs_refuse(content: dict[str, Any]) -> None:
    schema = json.loads(run("config", "schema").output)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)


def test_the_schema_accepts_a_list_written_with_commas() -> None:
    schema = json.loads(run("config", "schema").output)
    for upstream in ("127.0.0.1:1,127.0.0.1:2", ["127.0.0.1:1"]):
        jsonschema.validate({"gateway": {"upstream": upstream}}, schema)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_values_of_the_sample_are_the_defaults(section: str) -> None:
    values = uncommented(run("config", "sample", section).output)[section]
    for name, field in models()[section].model_fields.items():
        if not field.is_required() and field.default is not None:
            assert values[name] == field.default


def test_a_sample_says_all_of_a_setting_in_narrow_lines() -> None:
    text = run("config", "sample").output
    assert "# SECONDS, ≥ 0, ≤ 1. Default: 0.001\n#commit_delay = 0.001\n" in text
    assert "# FILE|URL. Required.\n" in text
    assert max(map(len, text.splitlines())) <= 80


def test_show_names_the_origin_of_every_value(monkeypatch: pytest.MonkeyPatch, write: Callable[[str], str]) -> None:
    path = write(f"[server]\n{NEEDED}max_recipients = 2\ndrain_timeout = 1\nread_threads = 3\n[gateway]\ntimeout = 4\n")
    monkeypatch.setenv("BACKUP_SHARING_MAX_RECIPIENTS", "3")
    monkeypatch.setenv("BACKUP_SHARING_READ_THREADS", "4")
    result = run("config", "show", "server", "--config", path, "--read-threads", "5")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert f'database = "d.db"  # file {path}: [server] database' in lines
    assert "max_recipients = 3  # environment BACKUP_SHARING_MAX_RECIPIENTS" in lines
    assert "read_threads = 5  # flag --read-threads" in lines
    assert f"drain_timeout = 1.0  # file {path}: [server] drain_timeout" in lines
    assert "max_connections = 1000  # default" in lines
    assert "# tls_key is not set" in lines
    assert "[gateway]" not in lines
    assert tomllib.loads(result.output)["server"]["read_threads"] == 5


def test_show_prints_both_programs_and_no_password(
    monkeypatch: pytest.MonkeyPatch, write: Callable[[str], str]
) -> None:
    monkeypatch.setenv("BACKUP_SHARING_DATABASE", "postgresql://u:hunter2@h/db")
    path = write("[server]\ntokens = 't.json'\n[gateway]\npublic_url = 'https://api.example.com'\n")
    result = run("config", "show", "--config", path)
    assert result.exit_code == 0
    assert 'database = "postgresql://***@h/db"  # environment BACKUP_SHARING_DATABASE\n' in result.output
    assert 'public_url = "https://api.example.com"' in result.output
    assert "hunter2" not in result.output


def test_show_prints_invalid_values_as_they_are_given(write: Callable[[str], str]) -> None:
    path = write("[server]\nmax_recipients = 0\nkeystone_url = 'https://u:hunter2@iam'\n")
    result = run("config", "show", "server", "--config", path)
    assert result.exit_code == 1
    assert f"max_recipients = 0  # file {path}: [server] max_recipients\n" in result.stdout
    assert "server: --database (BACKUP_SHARING_DATABASE): is missing\n" in result.stderr
    assert "hunter2" not in result.output


def test_show_takes_no_password_as_an_option() -> None:
    result = run("config", "show", "server", "--database", "postgresql://u:hunter2@h/db")
    assert (result.exit_code, "hunter2" in result.output) == (2, False)


def test_a_valid_file_passes_the_check(write: Callable[[str], str], tmp_path: Path) -> None:
    result = run("check-config", "--config", write(f"[server]\n{NEEDED}[gateway]\n"))
    assert result.output == "server: the settings are valid\ngateway: the settings are valid\n"
    assert result.exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["settings.toml"]


def test_the_check_names_all_mistakes_of_both_sections(write: Callable[[str], str]) -> None:
    path = write("[server]\nmax_recipients = 0\nmax_recipient = 1\n[gateway]\ntimeout = -1\n[gatway]\n")
    result = run("check-config", "--config", path)
    assert result.exit_code == 1
    assert result.stderr.replace(path, "FILE").splitlines() == [
        "server, gateway: FILE: [gatway]: there is no such section; did you mean [gateway]?",
        "server: --database (BACKUP_SHARING_DATABASE): is missing",
        "server: --max-recipients (BACKUP_SHARING_MAX_RECIPIENTS): Input should be greater than or equal to 1, got 0,"
        " in FILE: [server] max_recipients",
        "server: FILE: [server] max_recipient: there is no such setting; did you mean max_recipients?",
        "server: --tokens (BACKUP_SHARING_TOKENS): is missing; callers need it, --keystone-url, --client or"
        " --proxy-credentials to authenticate",
        "gateway: --timeout (BACKUP_SHARING_TIMEOUT): Input should be greater than 0, got -1, in FILE: [gateway]"
        " timeout",
    ]
    assert result.stdout == ""


def test_the_check_covers_the_sections_of_the_file_only(write: Callable[[str], str]) -> None:
    assert run("check-config", "--config", write("[gateway]\n")).output == "gateway: the settings are valid\n"
    assert run("check-config", "server", "--config", write("[gateway]\n")).exit_code == 1


def test_the_check_of_a_flat_file_needs_the_program(write: Callable[[str], str]) -> None:
    path = write(NEEDED)
    result = run("check-config", "--config", path)
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: {path}: it has no sections; name the program that reads it: server or gateway\n",
    )
    assert run("check-config", "--config", path, "server").output == "server: the settings are valid\n"


def test_the_check_names_misspelt_variables(monkeypatch: pytest.MonkeyPatch, write: Callable[[str], str]) -> None:
    monkeypatch.setenv("BACKUP_SHARING_CONFIG", write("[gateway]\n"))
    monkeypatch.setenv("BACKUP_SHARING_DRAIN_TIMOUT", "3")
    result = run("check-config")
    assert (result.exit_code, result.stderr) == (
        1,
        "gateway: BACKUP_SHARING_DRAIN_TIMOUT: there is no such setting; did you mean BACKUP_SHARING_DRAIN_TIMEOUT?\n",
    )


@pytest.mark.parametrize("content", ["[server", "= 1"])
def test_a_file_that_is_no_toml_is_one_mistake(write: Callable[[str], str], content: str) -> None:
    path = write(content)
    for arguments in (("check-config",), ("config", "show")):
        result = run(*arguments, "--config", path)
        assert (result.exit_code, result.stderr.count(path)) == (1, 1)


def test_without_a_file_the_check_is_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_SHARING_DATABASE", "d.db")
    monkeypatch.setenv("BACKUP_SHARING_TOKENS", "t.json")
    assert run("check-config").exit_code == 0
