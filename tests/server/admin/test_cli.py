"""The administrator's commands; more tests of ``import`` are in test_importing.py."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backup_sharing.admin.cli import main
from backup_sharing.identity.interface import Credentials
from backup_sharing.identity.static import StaticTokens
from backup_sharing.model import Principal
from tests.server.identities import GIVER
from tests.support.ports import free_address

DAY = 86_400.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), "the command had a defect"
    return result


@pytest.mark.parametrize("project", ["", "a b", "a" * 65, "a/b"])
def test_a_token_of_no_proper_project_is_refused(file: Path, project: str) -> None:
    result = run("token", "--file", str(file), "--project", project, "--role", "member")
    assert result.exit_code == 1
    assert "--project" in result.stderr
    assert not file.exists()


@pytest.mark.parametrize("role", ["owner", "Member", ""])
def test_a_role_that_is_not_there_is_refused_with_those_that_are(file: Path, role: str) -> None:
    result = run("token", "--file", str(file), "--project", GIVER, "--role", role)
    assert result.exit_code == 2
    assert "'admin', 'member', 'reader', 'service'" in result.stderr


def test_a_token_without_a_role_is_refused(file: Path) -> None:
    assert run("token", "--file", str(file), "--project", GIVER).exit_code == 2


def test_a_service_that_is_a_member_too_needs_a_project(file: Path) -> None:
    result = run("token", "--file", str(file), "--role", "service", "--role", "member")
    assert result.exit_code == 1


@pytest.mark.parametrize("days", ["0", "-1", "soon"])
def test_a_token_that_has_expired_already_is_refused(file: Path, days: str) -> None:
    result = run("token", "--file", str(file), "--project", GIVER, "--role", "member", "--expires-in", days)
    assert result.exit_code == 2
    assert not file.exists()


def test_a_damaged_token_file_is_named_and_left_alone(file: Path) -> None:
    file.write_text("{")
    result = run("token", "--file", str(file), "--project", GIVER, "--role", "member")
    assert result.exit_code == 1
    assert f"{file}: is not JSON" in result.stderr
    assert file.read_text() == "{"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "tokens.json"
    result = run("token", "--file", str(missing), "--project", GIVER, "--role", "member")
    assert result.exit_code == 1
    assert f"{missing}: No such file or directory" in result.stderr


def test_a_token_is_shown_once_and_only_its_digest_is_kept(file: Path) -> None:
    result = run("token", "--file", str(file), "--project", GIVER, "--role", "member")
    [token] = result.output.splitlines()
    assert token not in file.read_text()
    again = run("token", "--file", str(file), "--project", GIVER, "--role", "member")
    assert token not in again.output


async def test_the_token_that_is_shown_is_good(file: Path) -> None:
    shown = run("token", "--file", str(file), "--project", GIVER, "--role", "member", "--role", "reader", "--user", "u")
    tokens = StaticTokens.load(file, time.time)
    found = await tokens.identify(Credentials({"x-auth-token": shown.output.strip()}))
    assert found == Principal(GIVER, frozenset({"member", "reader"}), "u")


def test_a_service_needs_no_project(file: Path) -> None:
    run("token", "--file", str(file), "--role", "service")
    [entry] = json.loads(file.read_text())["tokens"]
    assert (entry["project_id"], entry["roles"], entry["expires_at"]) == ("", ["service"], None)


def test_a_token_expires_after_the_days_it_is_good_for(file: Path) -> None:
    before = time.time()
    run("token", "--file", str(file), "--role", "service", "--expires-in", "0.5")
    after = time.time()
    [entry] = json.loads(file.read_text())["tokens"]
    assert before + DAY / 2 <= entry["expires_at"] <= after + DAY / 2


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "example.org:1", "8080", ":8080"])
@pytest.mark.parametrize("option", ["--listen", "--grpc-listen"])
def test_the_demo_refuses_to_listen_beyond_loopback(tmp_path: Path, option: str, address: str) -> None:
    result = run("demo", option, address, "--data", str(tmp_path / "data"))
    assert result.exit_code == 1
    assert f"{address}: the demo's tokens are public" in result.stderr
    assert not (tmp_path / "data").exists()


def test_the_demo_names_a_folder_that_it_cannot_use(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    names = ("--listen", "--grpc-listen", "--admin-listen", "--grpc-admin-listen")
    addresses = [text for name in names for text in (name, free_address())]
    result = run("demo", *addresses, "--data", str(tmp_path / "data"))
    assert result.exit_code == 1
    assert f"{tmp_path / 'data'}: cannot be used" in result.stderr


@pytest.mark.parametrize("command", [(), ("demo",), ("token",), ("import",)])
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_a_command_that_is_not_there_is_named() -> None:
    result = run("exprot")
    assert result.exit_code == 2
    assert "exprot" in result.stderr


def test_an_import_without_a_token_says_where_it_may_be() -> None:
    result = CliRunner(env={"BACKUP_SHARING_TOKEN": None}).invoke(main, ["import", "-"])
    assert result.exit_code == 2
    assert "BACKUP_SHARING_TOKEN" in result.stderr


def test_an_import_of_a_file_that_is_not_there_names_it() -> None:
    result = run("import", "no-such-file", "--token", "t")
    assert result.exit_code == 2
    assert "no-such-file" in result.stderr
