"""``backup-sharing copy`` and ``backup``: output, exit codes, and the result of an interruption."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backup_sharing.admin.cli import main
from backup_sharing.store.opening import schema_status
from backup_sharing.store.transfer.postgres_side import PostgresSide
from backup_sharing.store.transfer.side import Batch
from backup_sharing.store.transfer.tables import SHARINGS, TABLES, Table
from tests.store.odd_rows import change, held, make, plain_rows, rows
from tests.support.postgres.proxy import TcpProxy
from tests.support.programs import PATIENCE, environment, obeying_ctrl_c

AGAIN = "Run the same command again: the copy resumes where it stopped."


@pytest.fixture
def source(tmp_path: Path) -> str:
    return make(f"sqlite://{tmp_path / 'source.db'}", rows(400))


def copy(source: str, target: str) -> Result:
    return CliRunner().invoke(main, ["copy", "--from", source, "--to", target])


def backup(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["backup", *map(str, arguments)])


def test_copy_says_what_both_hold_and_that_it_is_the_same(source: str, database_url: str) -> None:
    result = copy(source, database_url)
    assert (result.exit_code, result.stderr) == (0, "")
    *tables, written, same = result.stdout.splitlines()
    assert [line.split()[:3] for line in tables[:-1]] == [[table.name, "100", "rows"] for table in TABLES]
    assert tables[-1].split()[:3] == ["store", "1", "rows"]
    assert all(line.endswith("  the same") for line in tables)
    assert (written, same) == ("400 rows written", "Both databases hold the same data.")
    again = copy(source, database_url)
    assert again.stdout.splitlines() == [*tables, "0 rows written", same]


def test_copy_names_the_first_difference_and_exits_with_1(
    source: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = rows(8, seed=1)[SHARINGS]
    make(database_url)
    write = PostgresSide.write

    def write_and_change(side: PostgresSide, table: Table, batch: Batch) -> None:
        monkeypatch.undo()
        change(source, {SHARINGS: added})
        write(side, table, batch)

    monkeypatch.setattr(PostgresSide, "write", write_and_change)
    result = copy(source, database_url)
    assert result.exit_code == 1
    assert "sharings          102 rows" in result.stdout
    assert "2 differ" in result.stdout
    first = f"sharings id '{added[0][0]}' is missing in the target (102 rows in the source, 100 in the target)"
    assert f"Error: {first}" in result.stderr
    assert AGAIN in result.stderr
    assert copy(source, database_url).exit_code == 0


def test_copy_refuses_a_target_that_is_somebody_elses(source: str, database_url: str) -> None:
    make(database_url, rows(4, seed=1))
    result = copy(source, database_url)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "holds other data" in result.stderr
    assert "nothing was written" in result.stderr


def test_copy_says_in_one_line_why_a_database_cannot_be_used(source: str, tmp_path: Path) -> None:
    for way in (
        (f"sqlite://{tmp_path}/nothing.db", source),
        (source, source),
        (source, "postgresql://127.0.0.1:1/nothing"),
        ("postgresql://127.0.0.1:1/nothing", source),
        (source, str(tmp_path)),
    ):
        result = copy(*way)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.stderr


@pytest.mark.parametrize("arguments", [[], ["--from", "a.db"], ["--from", "a.db", "--to", "sqlite:"]])
def test_copy_without_two_databases_says_what_is_missing(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["copy", *arguments])
    assert (result.exit_code, "--from" in result.stderr or "--to" in result.stderr) == (2, True)


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "backup_sharing.admin.cli", *arguments]
    with obeying_ctrl_c():
        return subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )


def wait_until_rows_are_in(database: str) -> None:
    end = time.monotonic() + PATIENCE
    while schema_status(database).is_empty or not any(held(database).values()):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(params=["to postgres", "from postgres"])
def slow_way(
    request: pytest.FixtureRequest, tmp_path: Path, database_url: str, postgres_proxy: TcpProxy
) -> tuple[list[str], str, str]:
    """Return the arguments, source and target of a copy of 40000 rows, which takes at least a second."""
    file = f"sqlite://{tmp_path / 'file.db'}"
    slow = postgres_proxy.through(database_url)
    postgres_proxy.delay(0.05)
    if request.param == "to postgres":
        return ["--from", make(file, rows(40_000)), "--to", slow], file, database_url
    return ["--from", slow, "--to", file], make(database_url, rows(40_000)), file


@pytest.mark.resilience
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_copy_ended_in_the_middle_goes_on_at_the_next_run(
    slow_way: tuple[list[str], str, str], number: signal.Signals
) -> None:
    arguments, source, target = slow_way
    process = started("copy", *arguments)
    wait_until_rows_are_in(target)
    process.send_signal(number)
    output, errors = process.communicate(timeout=PATIENCE)
    if number == signal.SIGINT:
        assert (process.returncode, output, errors) == (130, "", f"\nInterrupted. {AGAIN}\n")
    already = sum(map(len, held(target).values()))
    assert 0 < already < 40_000
    result = copy(source, target)
    assert (result.exit_code, f"{40_000 - already} rows written" in result.stdout) == (0, True), result.output
    assert held(target) == held(source)


@pytest.mark.resilience
def test_a_connection_that_is_cut_is_told_with_what_to_do_next(
    slow_way: tuple[list[str], str, str], postgres_proxy: TcpProxy
) -> None:
    arguments, _, target = slow_way
    process = started("copy", *arguments)
    wait_until_rows_are_in(target)
    postgres_proxy.cut()
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "cannot be reached" in errors
    assert errors.endswith(f"\n{AGAIN}\n")


def test_a_terminal_sees_bars_and_nothing_else_does(source: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "backup_sharing.admin.cli",
        "copy",
        "--from",
        source,
        "--to",
        str(tmp_path / "target.db"),
    ]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "Copying" in shown
    assert "Checking" in shown
    assert b"Copying" not in done.stdout


def test_backup_makes_a_file_and_says_how_large_it_is(source: str, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    result = backup("--database", source, "--to", target)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{target}: {target.stat().st_size} bytes, checked\n"
    assert list(plain_rows(target)) == list(plain_rows(tmp_path / "source.db"))


def test_backup_replaces_a_file_only_with_force(source: str, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    target.touch()
    refused = backup("--database", source, "--to", target)
    assert (refused.exit_code, "--force" in refused.stderr, target.stat().st_size) == (1, True, 0)
    assert backup("--database", source, "--to", target, "--force").exit_code == 0


def test_backup_of_postgresql_is_left_to_pg_dump(tmp_path: Path) -> None:
    result = backup("--database", "postgresql://localhost/x", "--to", tmp_path / "backup.db")
    assert (result.exit_code, "use pg_dump" in result.stderr) == (2, True)


def test_backup_of_nothing_says_so(tmp_path: Path) -> None:
    result = backup("--database", tmp_path / "nothing.db", "--to", tmp_path / "backup.db")
    assert (result.exit_code, "no such file" in result.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []
