"""Exports of the history: complete, in order, and resumable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backup_sharing.admin.cli import main
from backup_sharing.rules.commands import PutBackup
from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.interface import StoredEvent
from backup_sharing.store.opening import open_store
from backup_sharing.store.transfer.tables import SHARING_EVENTS
from tests.store.commands import GIVER, NOW, backup, backup_id, cause, share
from tests.store.odd_rows import change


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a database with events."""
    name: str = str(tmp_path / "sharings.db")
    if request.param == "postgres":
        name = request.getfixturevalue("database_url")
    store = await open_store(name)
    for number in range(1, 4):
        await store.put_backup(PutBackup(backup(backup_id(number)), cause()))
        await store.share(share(*(f"project-{each}" for each in range(3)), backup_id=backup_id(number)))
    await store.close()
    return name


def export(database: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["events", "export", "--database", database, *arguments])


def lines(result: Result) -> list[dict[str, str]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_event_is_a_line_in_order(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backup_sharing.admin.events._PAGE", 5)
    found = lines(export(database))
    assert [each["kind"] for each in found] == ["backup_put", "shared", "shared", "shared"] * 3
    assert [each["cursor"].partition(":")[2] for each in found] == [str(number) for number in range(1, 13)]
    first = found[1]
    assert (first["time"], first["by_user_id"], first["request_id"]) == (
        "2023-11-14T22:13:20.000000Z",
        "someone",
        "req-1",
    )
    assert (first["backup_id"], first["from_project_id"], first["to_project_id"]) == (backup_id(1), GIVER, "project-0")
    assert "sharing_id" not in found[0]
    assert NOW == 1_700_000_000_000_000


def test_an_export_goes_on_after_each_line(database: str) -> None:
    found = lines(export(database))
    for number, line in enumerate(found, 1):
        assert lines(export(database, "--after", line["cursor"])) == found[number:]


def test_a_cursor_that_does_not_fit_is_refused(database: str) -> None:
    store_id, _, newest = lines(export(database))[-1]["cursor"].partition(":")
    assert "'x' is not a cursor" in export(database, "--after", "x").stderr
    assert "cursor of another store" in export(database, "--after", f"{'0' * 16}:1").stderr
    assert (
        f"beyond the newest event, {store_id}:12" in export(database, "--after", f"{store_id}:{int(newest) + 1}").stderr
    )
    change(database, remove={SHARING_EVENTS: [(number,) for number in range(1, 6)]})
    expired = export(database, "--after", f"{store_id}:4")
    assert expired.exit_code == 1
    assert f"no longer kept; the oldest cursor is {store_id}:5" in expired.stderr
    assert len(lines(export(database))) == len(lines(export(database, "--after", f"{store_id}:5"))) == 7


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    result = export(str(tmp_path / "none.db"))
    assert result.exit_code == 1
    assert "no tables of this program" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_events_deleted_meanwhile_stop_an_export_with_a_cursor(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backup_sharing.admin.events._PAGE", 5)
    store_id = lines(export(database))[0]["cursor"].partition(":")[0]
    read = BatchedStore.events_after

    async def purge_and_read(store: BatchedStore, position: int, limit: int) -> Sequence[StoredEvent]:
        if position == 5:
            assert await store.purge_events(NOW + 1, 7) == 7
        return await read(store, position, limit)

    monkeypatch.setattr(BatchedStore, "events_after", purge_and_read)
    stopped = export(database)
    assert stopped.exit_code == 1
    assert [json.loads(line)["cursor"] for line in stopped.stdout.splitlines()] == [
        f"{store_id}:{number}" for number in range(1, 6)
    ]
    assert f"the events after {store_id}:5 are no longer kept" in stopped.stderr
    assert f"go on with --after {store_id}:7: 2 events are missing before it" in stopped.stderr
    assert len(lines(export(database, "--after", f"{store_id}:7"))) == 5


def test_all_events_deleted_meanwhile_stop_an_export(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = BatchedStore.events_after

    async def purge_and_read(store: BatchedStore, position: int, limit: int) -> Sequence[StoredEvent]:
        assert await store.purge_events(NOW + 1, 100) == 12
        return await read(store, position, limit)

    monkeypatch.setattr(BatchedStore, "events_after", purge_and_read)
    stopped = export(database)
    assert (stopped.exit_code, stopped.stdout) == (1, "")
    assert "12 events are missing before it" in stopped.stderr
