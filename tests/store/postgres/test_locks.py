"""Data that another server commits between our statement that locks and the statements that read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from backup_sharing.rules.commands import Command, PutBackup, RemoveBackup
from backup_sharing.rules.decisions import needs_of
from backup_sharing.store.interface import Store
from backup_sharing.store.postgres.changes import Known
from backup_sharing.store.postgres.connection import Connection, connect_to_write, connection_string
from tests.store.commands import BACKUP_ID, backup, cancel_all, cause, project_id, share
from tests.store.faults import opened


class Interrupted:
    """A connection on which another store puts and shares the backup right after the statement that locks."""

    transaction_settings = ""

    def __init__(self, connection: Connection, other: Store) -> None:
        self._connection = connection
        self._other = other

    def pipeline(self) -> AbstractAsyncContextManager[psycopg.AsyncPipeline]:
        return self._connection.pipeline()

    async def execute(self, statement: str, parameters: Sequence[object] | None = None) -> psycopg.AsyncCursor[Any]:
        cursor = await self._connection.execute(statement, parameters)
        if "FOR UPDATE" in statement:
            async with self._connection.pipeline() as pipeline:
                await pipeline.sync()
            await self._other.put_backup(PutBackup(backup(), cause()))
            await self._other.share(share(project_id(1)))
        return cursor


@pytest_asyncio.fixture
async def interrupted(database_url: str) -> AsyncIterator[Interrupted]:
    async with opened(database_url) as store:
        await store.remove_backup(RemoveBackup(BACKUP_ID, cause()))
        connection = await connect_to_write(connection_string(database_url), patience=60.0)
        yield Interrupted(connection, store)
        await connection.close()


@pytest.mark.parametrize(
    "commands",
    [
        [PutBackup(backup(), cause())],
        [PutBackup(backup(), cause()), RemoveBackup(BACKUP_ID, cause())],
        [RemoveBackup(BACKUP_ID, cause())],
        [cancel_all(BACKUP_ID)],
        [share(project_id(1))],
    ],
    ids=["put", "put and remove", "remove", "cancel all", "share"],
)
async def test_a_backup_inserted_after_our_locks_is_not_changed(
    interrupted: Interrupted, commands: Sequence[Command]
) -> None:
    known = Known()
    await known.read(interrupted, needs_of(commands), None)  # type: ignore[arg-type]  # has what read uses
    assert [known.is_busy(command) for command in commands] == [True] * len(commands)
