"""``backup-sharing events``: the history of a database as a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Final

import click

from backup_sharing.admin.migrating import database_named
from backup_sharing.errors import Failure
from backup_sharing.model import rfc3339
from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.interface import LogBounds, StoredEvent
from backup_sharing.store.opening import open_store, schema_status, shown
from backup_sharing.store.unusable import UnusableDatabase
from backup_sharing.usecases import cursor

_PAGE: Final = 1000
"""Events read at once."""


@click.group()
def events() -> None:
    """Export the history of a database."""


@events.command()
@click.option(
    "--database", envvar="BACKUP_SHARING_DATABASE", required=True, show_envvar=True, callback=database_named,
    help="SQLite file or postgresql://USER@HOST/NAME, as in the server's settings.",
)  # fmt: skip
@click.option(
    "--after", metavar="CURSOR",
    help="Begin after this cursor: the last one of an earlier export. By default, export all events that are kept.",
)  # fmt: skip
def export(database: str, after: str | None) -> None:
    """Print all events up to now, the oldest first, as one JSON object per line.

    Servers may run meanwhile. To continue an export that was interrupted, delete its last line if it is cut off, and
    pass the cursor of the last whole line to --after. Exits with 1 if the events after this cursor are no longer kept.
    """
    try:
        if schema_status(database).applied == []:
            raise click.ClickException(f"{shown(database)}: there are no tables of this program")
        asyncio.run(_export(database, after))
    except (UnusableDatabase, Failure) as error:
        raise click.ClickException(str(error)) from None


async def _export(database: str, after: str | None) -> None:
    store = await open_store(database)
    try:
        bounds = await store.log_bounds()
        async for page in _pages(store, bounds, _start(bounds, after)):
            click.echo("\n".join(_line(bounds.store_id, each) for each in page))
    finally:
        await store.close()


async def _pages(store: BatchedStore, bounds: LogBounds, position: int) -> AsyncIterator[Sequence[StoredEvent]]:
    """Yield the events after a position, up to the newest one of ``bounds``."""
    while position < bounds.newest:
        page = await store.events_after(position, min(_PAGE, bounds.newest - position))
        if not page or page[0].position > position + 1:
            # Events may have been deleted since the page before.
            _refuse_expired(await store.log_bounds(), position)
        if not page:
            return
        yield page
        position = page[-1].position


def _start(bounds: LogBounds, after: str | None) -> int:
    """Return the position after which the export begins."""
    if after is None:
        return bounds.oldest
    try:
        position = cursor.position_in(bounds, *cursor.decode(after))
    except cursor.BadCursor as bad:
        raise click.BadParameter(str(bad), param_hint="--after") from None
    _refuse_expired(bounds, position)
    return position


def _refuse_expired(bounds: LogBounds, position: int) -> None:
    if position < bounds.oldest:
        after, oldest = (cursor.encode(bounds.store_id, each) for each in (position, bounds.oldest))
        raise click.ClickException(
            f"the events after {after} are no longer kept; the oldest cursor is {oldest}. To export all events that are"
            f" kept, go on with --after {oldest}: {bounds.oldest - position} events are missing before it"
        )


def _line(store_id: str, stored: StoredEvent) -> str:
    event = stored.event._asdict()
    members = {
        "cursor": cursor.encode(store_id, stored.position),
        "kind": event.pop("kind"),
        "time": rfc3339(event.pop("at")),
    }
    return json.dumps(members | {name: value for name, value in event.items() if value})
