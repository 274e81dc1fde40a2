"""The store in one SQLite file: for one machine, with any number of processes on it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, cast

from backup_sharing.model import Backup, Page, Sharing, SharingDetail
from backup_sharing.rules.decisions import Command, PutBackup, RemoveBackup
from backup_sharing.store.breakdown import Breakdown
from backup_sharing.store.gate import Gate
from backup_sharing.store.interface import Cancel, CancelAll, Cause, Share, SharingFilter, SharingQuery
from backup_sharing.store.migrations import MIGRATIONS, Migration
from backup_sharing.store.sqlite import reads as reads
from backup_sharing.store.sqlite.changes import make, make_all
from backup_sharing.store.sqlite.checkpointer import Checkpointer, LogBounds
from backup_sharing.store.sqlite.connection import connect, connect_to_write, is_failing
from backup_sharing.store.sqlite.file import look, migrate, prepare, why
from backup_sharing.store.sqlite.probe import Probe
from backup_sharing.store.sqlite.readers import Readers
from backup_sharing.store.sqlite.start import sync_folder
from backup_sharing.store.sqlite.writer import Writer
from backup_sharing.store.unusable import FailingDatabase, UnusableDatabase

T = TypeVar("T")

_PING_WITHIN: Final = 0.8
"""Seconds: what `Store.ping` promises, less the time to say so."""


class SqliteStore:
    """A `backup_sharing.store.interface.Store`. Open one with `open`; close it with `close`."""

    def __init__(
        self,
        gate: Gate,
        writer: Writer,
        checkpointer: Checkpointer,
        readers: Readers,
        probe: Probe,
        breakdown: Breakdown,
    ) -> None:
        self._gate = gate
        self._breakdown = breakdown
        self._writer = writer
        self._checkpointer = checkpointer
        self._readers = readers
        self._probe = probe

    @classmethod
    async def open(
        cls,
        path: Path | str,
        *,
        max_waiting: int = 10_000,
        max_batch: int = 256,
        read_threads: int = 2,
        busy_timeout: float = 5.0,
        commit_delay: float = 0.001,
        log_bounds: LogBounds | None = None,
        known: Sequence[Migration] = MIGRATIONS,
        every: bool = False,
        failed: asyncio.Event | None = None,
    ) -> SqliteStore:
        """Open the database file at ``path``, in a folder that exists; make it, with its tables, if there is none.

        While its tables are those of an older version every call is `Unavailable`.

        ``max_waiting``: the most changes that wait; one more is `Overloaded`.
        ``max_batch``: the most changes that share a commit.
        ``read_threads``: how many reads run at once.
        ``busy_timeout``: seconds to wait for other processes before a call is `Unavailable`.
        ``commit_delay``: the most seconds that a change waits for others to share its commit, when there are such.
        ``log_bounds``: how large the write-ahead log may grow; None: as measured to be best.
        ``known``: the migrations that the program needs.
        ``every``: whether tables of an older version are brought up to date.
        ``failed``: the event of `Store.failed`; None: one of its own.

        Raises UnusableDatabase if the file is no database, cannot be written, or was made by a
        newer version of this program; FailingDatabase while its disk fails.
        """
        path = Path(path)
        await asyncio.to_thread(migrate if every else prepare, path, busy_timeout=busy_timeout, known=known)
        pending = partial(_pending, path, busy_timeout, known)
        gate = Gate(await pending(), pending)
        writing, probing, copying, guard, *reading = await asyncio.to_thread(_connect, path, read_threads, busy_timeout)
        breakdown = Breakdown(failed)
        checkpointer = Checkpointer(copying, guard, path, breakdown.report, log_bounds)
        writer = Writer(
            writing,
            max_waiting=max_waiting,
            max_batch=max_batch,
            busy_timeout=busy_timeout,
            commit_delay=commit_delay,
            after_batch=checkpointer.after_batch,
            breakdown=breakdown.report,
        )
        readers, probe = Readers(reading), Probe(probing, writer)
        breakdown.stops(writer.stop, checkpointer.stop, readers.stop, probe.stop)
        return cls(gate, writer, checkpointer, readers, probe, breakdown)

    @property
    def failed(self) -> asyncio.Event:
        """Set when the disk did not sync, or failed in a commit; then nothing may be closed before the process ends."""
        return self._breakdown.happened

    async def share(self, command: Share) -> Sequence[Sharing]:
        """Do what `Store.share` promises."""
        return cast("Sequence[Sharing]", await self._make(command))

    async def cancel(self, command: Cancel) -> Sequence[Sharing]:
        """Do what `Store.cancel` promises."""
        return cast("Sequence[Sharing]", await self._make(command))

    async def cancel_all(self, command: CancelAll) -> Sequence[Sharing]:
        """Do what `Store.cancel_all` promises."""
        return cast("Sequence[Sharing]", await self._make(command))

    async def get_sharing(self, project_id: str, sharing_id: str) -> SharingDetail:
        """Do what `Store.get_sharing` promises."""
        return await self._read(partial(reads.get_sharing, project_id=project_id, sharing_id=sharing_id))

    async def list_sharings(self, query: SharingQuery) -> Page[SharingDetail]:
        """Do what `Store.list_sharings` promises."""
        return await self._read(partial(reads.list_sharings, query=query))

    async def count_sharings(self, filter: SharingFilter) -> int:
        """Do what `Store.count_sharings` promises."""
        return await self._read(partial(reads.count_sharings, filter=filter))

    async def put_backup(self, backup: Backup, cause: Cause) -> Backup:
        """Do what `Store.put_backup` promises."""
        return cast("Backup", await self._make(PutBackup(backup, cause)))

    async def get_backup(self, backup_id: str) -> Backup:
        """Do what `Store.get_backup` promises."""
        return await self._read(partial(reads.get_backup, backup_id=backup_id))

    async def list_backups(self, project_id: str | None, limit: int, after_id: str | None) -> Page[Backup]:
        """Do what `Store.list_backups` promises."""
        return await self._read(partial(reads.list_backups, project_id=project_id, limit=limit, after_id=after_id))

    async def remove_backup(self, backup_id: str, cause: Cause) -> Sequence[Sharing]:
        """Do what `Store.remove_backup` promises."""
        return cast("Sequence[Sharing]", await self._make(RemoveBackup(backup_id, cause)))

    async def ping(self) -> None:
        """Do what `Store.ping` promises, apart from the queues of reads and changes."""
        await self._check()
        await self._probe.look(_PING_WITHIN)

    async def close(self) -> None:
        """Do what `Store.close` promises; may be called again. After a breakdown nothing is closed.

        SQLite would copy what is in doubt into the database as soon as its last connection is closed.
        """
        self._writer.stop()
        self._readers.stop()
        self._probe.stop()
        if not self._breakdown.is_here:
            await asyncio.to_thread(self._close)

    async def _check(self) -> None:
        self._breakdown.check()
        await self._gate.check()

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._breakdown.is_here or not self._gate.is_open:
            await self._check()
        return await self._readers.read(query)

    async def _make(self, command: Command) -> object:
        if self._breakdown.is_here or not self._gate.is_open:
            await self._check()
        return await self._writer.make(
            partial(make, command=command),
            command.cause.commit_by,
            command=command,
            make_all=make_all,
            answer_by=command.cause.answer_by,
        )

    def _close(self) -> None:
        self._probe.close()
        self._readers.close()
        self._writer.close()
        if not self._breakdown.is_here:
            self._checkpointer.close()


def _connect(path: Path, read_threads: int, busy_timeout: float) -> list[sqlite3.Connection]:
    """Open the writer's connection, then the probe's, then the checkpointer's and its guard's, then the readers'.

    Raises UnusableDatabase.
    """
    with ExitStack() as opened:
        try:
            connections: list[sqlite3.Connection] = []
            for _ in range(2):
                connections.append(connect_to_write(path, busy_timeout=busy_timeout))
                opened.callback(connections[-1].close)
            connections.append(connect(path, busy_timeout=busy_timeout))
            opened.callback(connections[-1].close)
            for _ in range(1 + read_threads):
                connections.append(connect(path, busy_timeout=busy_timeout, query_only=True))
                opened.callback(connections[-1].close)
            connections[0].execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # makes the file of the log
            sync_folder(path.absolute().parent)
        except sqlite3.Error as error:
            raise (FailingDatabase if is_failing(error) else UnusableDatabase)(path, why(error)) from error
        except OSError as error:
            raise FailingDatabase(path, f"its folder cannot be synced: {error.strerror}") from error
        opened.pop_all()
        return connections


async def _pending(path: Path, busy_timeout: float, known: Sequence[Migration]) -> Sequence[str]:
    return (await asyncio.to_thread(look, path, busy_timeout=busy_timeout, known=known)).pending
