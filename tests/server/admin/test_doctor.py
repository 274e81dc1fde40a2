"""``backup-sharing doctor``: what it finds, its exit codes, and that it ends."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from backup_sharing.admin.cli import main
from backup_sharing.admin.doctor import database as of_database
from backup_sharing.admin.doctor.database import findings_of
from backup_sharing.identity.token_file.changing import add_token
from backup_sharing.store.examination.facts import Facts
from backup_sharing.store.migrations import MIGRATIONS
from backup_sharing.store.opening import migrate
from programkit.doctor.findings import State
from tests.support.ports import free_address
from tests.support.programs import PATIENCE, ROOT, environment

MIB = 1024 * 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder with a database and tokens that are as they should be."""
    migrate(str(tmp_path / "s.db"))
    add_token(tmp_path / "tokens.json", "p", ["member"], "u", None)
    return tmp_path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["doctor", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), "the command had a defect"
    return result


def examined(folder: Path, *arguments: str) -> tuple[int, dict[str, list[str]]]:
    """Return the exit code, and the states of the findings by check."""
    files = ("--database", str(folder / "s.db"), "--tokens", str(folder / "tokens.json"))
    return found(run("--format", "json", *files, *arguments))


def found(result: Result) -> tuple[int, dict[str, list[str]]]:
    document: dict[str, Any] = json.loads(result.stdout)
    states: dict[str, list[str]] = {}
    for finding in document["findings"]:
        assert finding["text"]
        assert bool(finding["advice"]) is (finding["state"] != "ok")
        states.setdefault(finding["check"], []).append(finding["state"])
    assert document["state"] == ("ok", "warning", "failed")[result.exit_code]
    return result.exit_code, states


@pytest.mark.parametrize(
    "arguments", [(), ("--databse", "x"), ("--database", "x", "--commit-margin", "soon"), ("--config", "none.toml")]
)
@pytest.mark.parametrize("program", [(), ("--gateway",)])
def test_invalid_settings_are_the_only_finding(program: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    if program and not arguments:
        return  # the gateway needs no settings
    assert found(run(*program, "--format", "json", *arguments)) == (2, {"settings": ["failed"]})


def test_a_password_on_the_command_line_is_refused(folder: Path) -> None:
    result = run("--database", "postgresql://u:sesame@localhost/x")
    assert result.exit_code == 2
    assert "sesame" not in result.output


def test_a_missing_folder_fails(folder: Path) -> None:
    code, states = examined(folder, "--database", str(folder / "none" / "s.db"))
    assert (code, states["database"]) == (2, ["failed"])


def test_a_missing_database_is_a_warning_and_is_not_made(folder: Path) -> None:
    code, states = examined(folder, "--database", str(folder / "new.db"))
    assert (code, states["database"]) == (1, ["warning"])
    assert not (folder / "new.db").exists()


@pytest.mark.parametrize("content", [b"no database, but long enough to be one" * 100])
def test_a_file_that_is_no_database_fails(folder: Path, content: bytes) -> None:
    (folder / "s.db").write_bytes(content)
    code, states = examined(folder)
    assert (code, states["database"]) == (2, ["failed"])


def test_missing_migrations_fail_with_the_command_to_run(folder: Path) -> None:
    migrate(str(folder / "old.db"), MIGRATIONS[:1])
    result = run("--database", str(folder / "old.db"), "--tokens", str(folder / "tokens.json"))
    assert result.exit_code == 2
    assert "-> run backup-sharing migrate apply" in result.stdout


def test_a_damaged_database_fails(folder: Path) -> None:
    path = folder / "s.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[-4096:] = b"\xff" * 4096
    path.write_bytes(content)
    code, states = examined(folder)
    assert code == 2
    assert "failed" in states["database"]


def test_a_counter_that_disagrees_with_the_sharings_fails(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "s.db")) as connection:
        connection.execute(
            "INSERT INTO backups (id, project_id, status, active_sharings) VALUES ('b', 'p', 'error', 3)"
        )
        connection.commit()
    result = run("--database", str(folder / "s.db"), "--tokens", str(folder / "tokens.json"))
    assert result.exit_code == 2
    assert "backups whose counter of active sharings disagrees with their sharings: 1" in result.stdout


def test_a_good_installation_has_nothing_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_database, "LITTLE_ROOM", 0)  # of the machine that runs the tests
    code, states = examined(folder, "--max-connections", "1")
    assert code == 0
    assert states == {"database": ["ok"] * 5, "tokens": ["ok"], "open files": ["ok"]}


def test_a_text_has_a_line_for_each_finding(folder: Path) -> None:
    add_token(folder / "tokens.json", "p", ["member"], "u", None)
    (folder / "tokens.json").chmod(0o644)
    lines = run("--database", str(folder / "s.db"), "--tokens", str(folder / "tokens.json")).stdout.splitlines()
    assert f"ok       database: {folder / 's.db'}: reachable, and its schema is up to date" in lines
    place = next(number for number, line in enumerate(lines) if line.startswith("warning  tokens: "))
    assert lines[place + 1] == "         -> close it to other users: chmod o= FILE"


@pytest.mark.parametrize(("text", "state"), [("{", "failed"), ('{"tokens": []}', "warning"), (None, "failed")])
def test_tokens_that_let_nobody_in_are_found(folder: Path, text: str | None, state: str) -> None:
    (folder / "tokens.json").unlink()
    if text is not None:
        (folder / "tokens.json").write_text(text)
    assert examined(folder)[1]["tokens"] == [state]


def test_a_keystone_that_is_not_there_fails(folder: Path) -> None:
    _, states = examined(folder, "--keystone-url", f"http://{free_address()}", "--insecure")
    assert states["keystone"] == ["failed"]


def facts(**changed: Any) -> Facts:  # noqa: ANN401 - values of different types
    whole: dict[str, Any] = {
        "damage": "", "is_whole_seen": True, "size": 0, "free": None, "log": None, "wrong_counters": 0,
        "clock_ahead": None, **changed,
    }  # fmt: skip
    return Facts(**whole)


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({"damage": "row 7 missing from index"}, State.FAILED),
        ({"is_whole_seen": False}, State.OK),
        ({"wrong_counters": None}, State.OK),
        ({"wrong_counters": 1}, State.FAILED),
        ({"free": 63 * MIB}, State.FAILED),
        ({"free": 64 * MIB}, State.WARNING),
        ({"free": 1024 * MIB}, State.OK),
        ({"log": 511 * MIB}, State.OK),
        ({"log": 512 * MIB}, State.WARNING),
        ({"clock_ahead": 0.9}, State.OK),
        ({"clock_ahead": -0.9}, State.OK),
        ({"clock_ahead": 1.5}, State.WARNING),
        ({"clock_ahead": -3600.0}, State.WARNING),
    ],
)
def test_numbers_are_judged(changed: dict[str, Any], state: State) -> None:
    assert max(finding.state for finding in findings_of(facts(**changed), 5.0)) is state


@pytest.fixture
def healthy() -> Iterator[tuple[str, health.HealthServicer]]:
    """A server with a health service: its address, and the service."""
    server, servicer, address = grpc.server(ThreadPoolExecutor(2)), health.HealthServicer(), free_address()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    server.start()
    yield address, servicer
    server.stop(None).wait(PATIENCE)


def of_gateway(*arguments: str) -> tuple[int, dict[str, list[str]]]:
    return found(run("--gateway", "--format", "json", "--max-connections", "1", *arguments))


@pytest.mark.parametrize(("status", "state", "code"), [("SERVING", "ok", 0), ("NOT_SERVING", "failed", 2)])
def test_the_health_of_a_server_is_asked(
    healthy: tuple[str, health.HealthServicer], status: str, state: str, code: int
) -> None:
    address, servicer = healthy
    servicer.set("", getattr(health_pb2.HealthCheckResponse, status))
    ended, states = of_gateway("--upstream", address)
    assert (ended, states[f"upstream {address}"]) == (code, [state])


def test_each_address_of_a_name_is_asked(healthy: tuple[str, health.HealthServicer]) -> None:
    port = healthy[0].rpartition(":")[2]
    _, states = of_gateway("--upstream", f"dns:///localhost:{port}", "--insecure")
    assert "ok" in states[f"upstream dns:///localhost:{port}"]


def test_servers_that_are_not_there_fail() -> None:
    address = free_address()
    code, states = of_gateway("--upstream", address)
    assert (code, states[f"upstream {address}"]) == (2, ["failed"])


@pytest.mark.parametrize("program", ["server", "gateway"])
def test_a_host_that_is_silent_does_not_stop_the_command(folder: Path, program: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        asked = {
            "server": ("--database", f"postgresql://{address}/s", "--tokens", str(folder / "tokens.json")),
            "gateway": ("--gateway", "--upstream", address),
        }[program]
        command = [sys.executable, "-m", "backup_sharing.admin.cli", "doctor", "--within", "0.3", *asked]
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment(), cwd=ROOT, timeout=PATIENCE
        )
    assert ended.returncode == 2, ended.stderr
    assert "failed " in ended.stdout
    assert "open files" in ended.stdout
