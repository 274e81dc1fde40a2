"""``backup-sharing purge``: the plan, the question, and what is deleted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backup_sharing.admin.cli import main
from backup_sharing.errors import Unavailable
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.opening import open_store
from backup_sharing.store.transfer.tables import BACKUPS, SHARING_EVENTS, SHARINGS
from tests.store.commands import NOW, SECOND, backup, cancel, cause, project_id, share
from tests.store.odd_rows import held, make

FIRST, LAST = "2023-11-14T22:13:20.000000Z", "2023-11-14T22:13:25.000000Z"
"""`NOW`, and five seconds later."""
NOBODY_THERE = "Nothing was deleted: without a terminal, --yes is needed."


async def fill(database: str) -> str:
    """Make 16 events, one a second from `NOW` on, and 5 sharings that were cancelled; return the store's id."""
    store = await open_store(database)
    await store.put_backup(PutBackup(backup(), cause()))
    given = [
        (await store.share(share(project_id(number), because=cause(NOW + number * SECOND))))[0] for number in range(10)
    ]
    for number, each in enumerate(given[:5], 1):
        await store.cancel(cancel(each.id, because=cause(NOW + number * SECOND)))
    store_id = (await store.log_bounds()).store_id
    await store.close()
    return store_id


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the name of an empty database."""
    return str(tmp_path / "sharings.db" if request.param == "sqlite" else request.getfixturevalue("database_url"))


def purge(database: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["purge", "--database", database, *arguments])


def left(database: str) -> tuple[int, int]:
    """Return the number of events and of sharings."""
    rows = held(database)
    assert len(rows[BACKUPS]) == 1
    return len(rows[SHARING_EVENTS]), len(rows[SHARINGS])


async def test_the_plan_says_what_would_go_and_nothing_goes(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backup_sharing.admin.purge._PAGE", 3)
    store_id = await fill(database)
    result = await run(database, "--older-than", "90d", "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    head, *parts = result.stdout.splitlines()
    assert head.startswith("Older than 20")
    assert parts == [
        f"  events: 16, from {FIRST} to 2023-11-14T22:13:29.000000Z; cursors before {store_id}:16 expire",
        f"  ended sharings: 5, from 2023-11-14T22:13:21.000000Z to {LAST}",
    ]
    assert left(database) == (16, 10)


async def run(database: str, *arguments: str) -> Result:
    """Run the command, which has an event loop of its own, in a thread."""
    return await asyncio.to_thread(purge, database, *arguments)


@pytest.mark.parametrize(
    ("kinds", "rows"),
    [((), (0, 5)), (("--events",), (0, 10)), (("--cancelled",), (16, 5)), (("--events", "--cancelled"), (0, 5))],
)
async def test_what_is_old_goes_and_nothing_else(database: str, kinds: tuple[str, ...], rows: tuple[int, int]) -> None:
    await fill(database)
    result = await run(database, "--older-than", "1d", "--yes", *kinds)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "Deleted."
    assert left(database) == rows
    again = await run(database, "--older-than", "1d", "--yes", *kinds)
    assert again.stdout.splitlines()[-1] == "Nothing to delete."
    assert again.exit_code == 0


async def test_a_time_is_a_bound_and_the_order_decides(database: str) -> None:
    await fill(database)
    result = await run(database, "--older-than", LAST, "--yes")
    # The sharings of the first five seconds were made before them, but cancelled after all shares.
    assert f"  events: 6, from {FIRST} to 2023-11-14T22:13:24.000000Z" in result.stdout
    assert left(database) == (10, 6)


async def test_without_a_terminal_nothing_goes_unasked(database: str) -> None:
    await fill(database)
    result = await run(database, "--older-than", "90d")
    assert result.exit_code == 2
    assert "ended sharings: 5" in result.stdout
    assert NOBODY_THERE in result.stderr
    assert left(database) == (16, 10)


async def test_a_server_that_is_failing_is_reported_with_advice(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(database)
    first = BatchedStore.purge_events

    async def fail_later(store: BatchedStore, before: int, limit: int) -> int:
        if (await store.log_bounds()).oldest:
            raise Unavailable("The database cannot be reached.")
        return await first(store, before, 3)

    with monkeypatch.context() as failing:
        failing.setattr(BatchedStore, "purge_events", fail_later)
        result = await run(database, "--older-than", "90d", "--yes")
    assert result.exit_code == 1
    assert "The database cannot be reached. What was deleted stays deleted. Run the same command" in result.stderr
    assert left(database) == (13, 10)
    assert (await run(database, "--older-than", "90d", "--yes")).exit_code == 0
    assert left(database) == (0, 5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing option '--older-than', such as --older-than 90d."),
        (("--older-than", "90"), "'90' is neither a span such as 7d, 12h or 1d12h, nor a time"),
        (("--older-than", "0d"), "the span 0d is empty"),
        (("--older-than", "-1d"), "'-1d' is neither a span"),
        (("--older-than", "9999999w"), "9999999w leads out of the years 1 to 9999"),
        (("--older-than", "2026-01-01"), "'2026-01-01' has no time zone"),
        (("--older-than", "9999-01-01T00:00Z"), "9999-01-01T00:00:00.000000Z is later than now, 20"),
        (("--older-than", "1d", "--yes", "--dry-run"), "--yes and --dry-run exclude each other."),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = purge(make(str(tmp_path / "sharings.db")), *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    result = purge(str(tmp_path / "none.db"), "--older-than", "1d")
    assert result.exit_code == 1
    assert "no tables of this program" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("answer", "status", "events"), [("y\n", 0, 0), ("n\n", 1, 16), ("", 1, 16)])
async def test_a_person_is_asked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int, events: int
) -> None:
    database = str(tmp_path / "sharings.db")
    await fill(database)
    monkeypatch.setattr("backup_sharing.admin.purge._is_at_a_terminal", lambda: True)
    arguments = ["purge", "--database", database, "--older-than", "1d"]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments, input=answer)
    assert "Delete these for ever? [y/N]" in result.stdout
    assert result.exit_code == status
    assert left(database)[0] == events
