"""``backup-sharing token``: list, revoke and rotate."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backup_sharing.admin.cli import main
from backup_sharing.identity.token_file.changing import add_token
from backup_sharing.identity.token_file.entries import digest, read_entries
from backup_sharing.identity.token_file.last_use import record_last_use

DAY = 86_400.0
OLD = {"sha256": digest("old"), "project_id": "p", "roles": ["member"], "user_id": "u", "expires_at": 5.0}
"""An entry of an earlier version."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def run(command: str, file: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(main, ["token", command, "--file", str(file), *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), "the command had a defect"
    return result


def listed(file: Path) -> list[dict[str, Any]]:
    result = run("list", file, "--format", "json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("command", ["list", "revoke", "rotate"])
@pytest.mark.parametrize("text", [None, "{", '{"tokens": [{}]}'])
def test_a_file_that_cannot_be_used_is_named(file: Path, command: str, text: str | None) -> None:
    if text is not None:
        file.write_text(text)
    result = run(command, file, *([] if command == "list" else ["0123456789ab"]))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["revoke", "rotate"])
def test_an_unknown_id_is_named(file: Path, command: str) -> None:
    add_token(file, "p", ["member"], "u", None)
    before = file.read_bytes()
    result = run(command, file, "0123456789ab")
    assert result.exit_code == 1
    assert "'0123456789ab'" in result.stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize("overlap", ["soon", "-1h", "1", "", "9" * 5000 + "w"])
def test_an_overlap_that_is_no_span_is_refused(file: Path, overlap: str) -> None:
    add_token(file, "p", ["member"], "u", None, token="one")
    before = file.read_bytes()
    assert run("rotate", file, digest("one")[:12], "--overlap", overlap).exit_code == 2
    assert file.read_bytes() == before


def test_a_token_of_unknown_lifetime_needs_one_to_rotate(file: Path) -> None:
    file.write_text(json.dumps({"tokens": [OLD]}))
    result = run("rotate", file, digest("old")[:12])
    assert result.exit_code == 1
    assert "--expires-in" in result.stderr
    assert run("rotate", file, digest("old")[:12], "--expires-in", "1").exit_code == 0


def test_the_list_shows_what_is_known_of_each_token(file: Path) -> None:
    file.write_text(json.dumps({"tokens": [OLD]}))
    token = run("create", file, "--role", "service", "--description", "catalogue", "--expires-in", "1").stdout.strip()
    record_last_use(file, [digest(token)], [digest(token)], 0.0)
    old, new = listed(file)
    assert old == {
        "id": digest("old")[:12],
        "project_id": "p",
        "roles": ["member"],
        "user_id": "u",
        "description": "",
        "created_at": None,
        "expires_at": "1970-01-01T00:00:05Z",
        "is_expired": True,
        "last_used_at": None,
    }
    assert (new["description"], new["is_expired"], new["last_used_at"]) == ("catalogue", False, "1970-01-01T00:00:00Z")
    shown = run("list", file).stdout
    assert "1970-01-01T00:00:05Z (expired)" in shown
    assert token not in shown


def test_a_list_never_shows_control_characters(file: Path) -> None:
    result = run("create", file, "--role", "service", "--description", "\x1b[31m")
    assert result.exit_code == 1
    assert not file.exists()


def test_times_out_of_the_calendar_are_listed(file: Path) -> None:
    file.write_text(json.dumps({"tokens": [{**OLD, "expires_at": 1e300, "created_at": -1e300}]}))
    assert listed(file)[0]["expires_at"] == "beyond the year 9999"


def test_a_revoked_token_is_no_longer_listed(file: Path) -> None:
    add_token(file, "p", ["member"], "u", None)
    [before] = listed(file)
    assert run("revoke", file, before["id"]).stdout == f"revoked {before['id']}\n"
    assert listed(file) == []


def test_a_rotation_prints_only_the_token_on_stdout(file: Path) -> None:
    add_token(file, "p", ["member", "reader"], "u", None, token="one")
    before = time.time()
    result = run("rotate", file, digest("one")[:12], "--overlap", "1h")
    after = time.time()
    old, new = read_entries(file)
    assert new.sha256 == digest(result.stdout.strip())
    assert new.principal == old.principal
    assert before + 3600 <= (old.expires_at or 0) <= after + 3600
    assert f"{old.id} is accepted until" in result.stderr


def test_a_rotated_token_lives_as_long_as_the_old_one(file: Path) -> None:
    token = run("create", file, "--role", "service", "--expires-in", "2").stdout.strip()
    run("rotate", file, digest(token)[:12], "--overlap", "0")
    old, new = read_entries(file)
    assert (new.expires_at or 0) - (new.created_at or 0) == pytest.approx(2 * DAY)
    assert (old.expires_at or 0) <= time.time()


def test_the_file_may_be_named_in_the_environment(file: Path) -> None:
    variables = {"BACKUP_SHARING_TOKENS": str(file)}
    result = CliRunner(env=variables).invoke(main, ["token", "create", "--role", "service"])
    assert result.exit_code == 0
    assert file.exists()


def test_options_without_a_command_create_a_token(file: Path) -> None:
    assert CliRunner().invoke(main, ["token", "--file", str(file), "--role", "service"]).exit_code == 0
    assert len(listed(file)) == 1
