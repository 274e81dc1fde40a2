"""``backup-sharing purge``: deletes old events and ended sharings of a database by hand."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import click

from backup_sharing.admin.migrating import database_named
from backup_sharing.admin.moving import bar
from backup_sharing.errors import Failure
from backup_sharing.model import Micros, rfc3339
from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.interface import OldEvent, OldSharing
from backup_sharing.store.opening import open_store, schema_status, shown
from backup_sharing.store.unusable import UnusableDatabase
from backup_sharing.usecases import cursor
from backup_sharing.usecases.purger import delete_all
from backupsharing.commands.times import Span, time_option

_PAGE: Final = 5000
"""Rows counted at once."""

_AGAIN: Final = "What was deleted stays deleted. Run the same command again to go on."

_EVENTS: Final = "events"

_INTERRUPTED: Final = 130
"""Exit status after an interruption by SIGINT."""

Old = TypeVar("Old", OldEvent, OldSharing)

_EARLIEST: Final = -(2**63)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a purge that deletes one kind of rows."""

    name: str
    rows: int
    oldest: Micros
    newest: Micros
    effect: str = ""
    """Consequence for clients."""

    @property
    def line(self) -> str:
        """Description for a person."""
        if not self.rows:
            return f"  {self.name}: none"
        return f"  {self.name}: {self.rows}, from {rfc3339(self.oldest)} to {rfc3339(self.newest)}{self.effect}"


@click.command()
@click.option(
    "--database", envvar="BACKUP_SHARING_DATABASE", required=True, show_envvar=True, callback=database_named,
    help="SQLite file or postgresql://USER@HOST/NAME, as in the server's settings.",
)  # fmt: skip
@time_option("--older-than", "Delete what is older than this span, or than this time. Required.")
@click.option("--events", is_flag=True, help="Delete only events.")
@click.option("--cancelled", is_flag=True, help="Delete only sharings that were cancelled or have ended.")
@click.option("--yes", is_flag=True, help="Delete without a question.")
@click.option("--dry-run", is_flag=True, help="Print the plan, and delete nothing.")
def purge(
    database: str, older_than: datetime | Span | None, events: bool, cancelled: bool, yes: bool, dry_run: bool
) -> None:
    """Delete old events and ended sharings for ever; servers may run meanwhile.

    Prints first how many rows would go, and their oldest and newest time; then asks. Without a terminal, --yes is
    needed. Without --events and --cancelled, both are deleted. Active sharings and backups always stay.

    Events go in their order: the first event that is not old keeps all later ones. A cursor before the deleted events
    is refused with CURSOR_EXPIRED. After an interruption, run the same command again.
    """
    if older_than is None:
        raise click.UsageError("Missing option '--older-than', such as --older-than 90d.")
    if yes and dry_run:
        raise click.UsageError("--yes and --dry-run exclude each other.")
    if not events and not cancelled:
        events = cancelled = True
    with _one_line_errors():
        if schema_status(database).applied == []:
            raise click.ClickException(f"{shown(database)}: there are no tables of this program")
        before, parts = asyncio.run(_planned(database, older_than, events=events, cancelled=cancelled))
        click.echo(f"Older than {rfc3339(before)} in {shown(database)}:")
        for part in parts:
            click.echo(part.line)
        if not any(part.rows for part in parts):
            click.echo("Nothing to delete.")
        elif not dry_run:
            _confirm(yes)
            asyncio.run(_delete(database, before, parts))
            click.echo("Deleted.")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Report a failure or an interruption in one line, with the advice to run the command again."""
    try:
        yield
    except UnusableDatabase as error:
        raise click.ClickException(str(error)) from None
    except Failure as failure:
        raise click.ClickException(f"{failure} {_AGAIN}") from None
    except KeyboardInterrupt:
        click.echo(f"\nInterrupted. {_AGAIN}", err=True)
        raise SystemExit(_INTERRUPTED) from None


@asynccontextmanager
async def _opened(database: str) -> AsyncIterator[BatchedStore]:
    store = await open_store(database)
    try:
        yield store
    finally:
        await store.close()


async def _planned(
    database: str, older_than: datetime | Span, *, events: bool, cancelled: bool
) -> tuple[Micros, Sequence[_Part]]:
    """Return the time before which everything is old, and what a purge would delete now."""
    async with _opened(database) as store:
        before = _before(older_than, await store.time())
        parts = [await _planned_events(store, before)] if events else []
        return before, [*parts, await _planned_sharings(store, before)] if cancelled else parts


async def _delete(database: str, before: Micros, parts: Sequence[_Part]) -> None:
    async with _opened(database) as store:
        for part in parts:
            delete = store.purge_events if part.name == _EVENTS else store.purge_sharings
            with bar(f"Deleting {part.name}", part.rows) as advance:
                await delete_all(delete, before, advance, asyncio.sleep)


def _before(older_than: datetime | Span, now: Micros) -> Micros:
    """Return the time before which everything is old; a span counts from the database's time."""
    at = older_than.ago(lambda: _EPOCH + timedelta(microseconds=now)) if isinstance(older_than, Span) else older_than
    before = (at - _EPOCH) // timedelta(microseconds=1)
    if before > now:
        raise click.BadParameter(f"{rfc3339(before)} is later than now, {rfc3339(now)}", param_hint="--older-than")
    return before


def _is_at_a_terminal() -> bool:
    return sys.stdin.isatty()


def _confirm(yes: bool) -> None:
    if yes:
        return
    if not _is_at_a_terminal():
        raise click.UsageError("Nothing was deleted: without a terminal, --yes is needed.")
    click.confirm("Delete these for ever?", abort=True)


async def _pages(read: Callable[[Old | None], Awaitable[Sequence[Old]]]) -> AsyncIterator[Sequence[Old]]:
    """Yield all pages; ``read`` takes the last row of the page before."""
    after: Old | None = None
    while page := await read(after):
        yield page
        if len(page) < _PAGE:
            return
        after = page[-1]


async def _planned_events(store: BatchedStore, before: Micros) -> _Part:
    rows, oldest, newest, last = 0, before, _EARLIEST, 0
    async for page in _pages(lambda after: store.old_events(before, _PAGE, after.position if after else 0)):
        times = [event.at for event in page]
        rows, oldest, newest = rows + len(page), min(oldest, *times), max(newest, *times)
        last = page[-1].position
    bounds = await store.log_bounds()
    effect = f"; cursors before {cursor.encode(bounds.store_id, last)} expire"
    return _Part(_EVENTS, rows, oldest, newest, effect)


async def _planned_sharings(store: BatchedStore, before: Micros) -> _Part:
    rows, oldest, newest = 0, before, _EARLIEST
    async for page in _pages(lambda after: store.old_sharings(before, _PAGE, after)):
        rows, oldest, newest = rows + len(page), min(oldest, page[0].ended_at), page[-1].ended_at
    return _Part("ended sharings", rows, oldest, newest)
