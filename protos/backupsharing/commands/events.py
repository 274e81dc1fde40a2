"""``backup-sharing history`` and ``watch``."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import click

from backupsharing.client import (
    AsyncClient,
    AsyncWatch,
    BackupSharingError,
    CursorExpired,
    EventFilter,
    EventKind,
    SharingEvent,
    SortDir,
)
from backupsharing.client.calls import PAGE_SIZE
from backupsharing.commands import documented
from backupsharing.commands.interrupting import echo, interruptible, wait_for_reader
from backupsharing.commands.options import Command, not_empty, with_client
from backupsharing.commands.paging import first
from backupsharing.commands.text import fits, flowed, moment, table, terminal_columns, visible
from backupsharing.commands.times import Span, time_option

_COLOURS = {"shared": "green", "cancelled": "red", "expired": "yellow"}
_TITLES = ("TIME (UTC)", "KIND", "BACKUP", "FROM", "TO", "BY", "SHARING")
_WIDEST_KIND = max(map(len, get_args(EventKind)))

_ALL_PROJECTS = click.option(
    "--all-projects", is_flag=True, help="Events of all projects; needs the role service or admin."
)
_BACKUP = click.option("--backup-id", help="Only of the backup with this id.")
_KIND = click.option("--kind", type=click.Choice(get_args(EventKind)), help="Only of this kind.")


@click.command()
@_ALL_PROJECTS
@_BACKUP
@click.option("--sharing-id", help="Only of the sharing with this id.")
@click.option("--other-project-id", help="Only of sharings between the project and this one.")
@_KIND
@time_option("--since", "Only at this time or later; a span counts back from now.")
@time_option("--until", "Only before this time; a span counts back from now.")
@click.option("--sort-dir", type=click.Choice(get_args(SortDir)), default="desc", help="desc: the newest first.")
@click.option("--limit", type=click.IntRange(1, 2**31 - 2), default=1000, help="Maximum number of events.")
@click.option("--format", "shape", type=click.Choice(("table", "json")), default="table", help="Output format.")
@with_client
async def history(
    client: AsyncClient,
    /,
    since: datetime | Span | None,
    until: datetime | Span | None,
    sort_dir: SortDir,
    limit: int,
    shape: Literal["table", "json"],
    **which: str | None,
) -> None:
    """List past events of the sharings that the project gave or received, and of its own backups."""
    given: dict[str, Any] = {**which, "start_time": _time(since), "end_time": _time(until)}
    chosen: EventFilter = {name: value for name, value in given.items() if value is not None}  # type: ignore[assignment] # the names of the options are those of the filter
    found = client.history(sort_dir=sort_dir, page_size=min(limit + 1, PAGE_SIZE), **chosen)
    events = await first(found, limit + 1)
    if shape == "json":
        echo(documented.events(events[:limit]))
    elif events:
        echo(_laid_out(events[:limit]))
    else:
        echo("No events.", err=True)
    if len(events) > limit:
        echo(f"There are more than {limit} events; --limit shows more.", err=True)


def _from_one_place(command: Command) -> Command:
    """Reject two places to begin at, before any network access."""

    @functools.wraps(command)
    def checked(*, cursor: str | None, from_beginning: bool, **options: Any) -> None:  # noqa: ANN401 -- click checks them
        if cursor and from_beginning:
            raise click.UsageError("expected either --cursor or --from-beginning")
        command(cursor=cursor, from_beginning=from_beginning, **options)

    return checked


@click.command()
@_ALL_PROJECTS
@_BACKUP
@_KIND
@click.option("--cursor", callback=not_empty, help="Begin after this place.  [default: only events from now on]")
@click.option("--from-beginning", is_flag=True, help="Begin with the oldest event that the server keeps.")
@click.option("--format", "shape", type=click.Choice(("text", "json")), default="text",
              help="Output: lines for people, or a JSON object in each line.")  # fmt: skip
@interruptible
@_from_one_place
@with_client
async def watch(
    client: AsyncClient,
    /,
    cursor: str | None,
    from_beginning: bool,
    backup_id: str | None,
    kind: EventKind | None,
    shape: Literal["text", "json"],
) -> None:
    """Print events as they happen, until Ctrl-C (exit code 130).

    If the connection breaks, the command reconnects and goes on after the last event. A note on standard error says so;
    at the end, another note has the cursor with which a later command goes on.
    """
    printing = _Printing(shape, cursor)
    watching = client.watch(
        cursor=cursor,
        from_beginning=from_beginning,
        backup_id=backup_id,
        kind=kind,
        on_checkpoint=printing.checkpoint,
        on_reconnect=printing.lost,
    )
    try:
        async with watching:
            await printing.all(watching)
    except CursorExpired as failure:
        click.echo(f"The oldest cursor that works: --cursor {visible(failure.oldest_cursor)}", err=True)
        raise
    finally:
        # Not `echo`, which writes nothing after Ctrl-C.
        if printing.cursor:
            click.echo(f"To continue here: --cursor {visible(printing.cursor)}", err=True)


COMMANDS = (history, watch)
"""All commands of this module."""


class _Printing:
    """Prints events; and notes on standard error, one when the connection is lost, and one when it is back."""

    def __init__(self, shape: Literal["text", "json"], cursor: str | None) -> None:
        self.cursor = cursor
        """Place up to which all events are printed. The watch may be one event ahead, if the output is blocked."""
        self._shape = shape
        self._is_lost = False

    async def all(self, watching: AsyncWatch) -> None:
        """Print the events of a watch that has begun."""
        self.cursor = watching.cursor
        if terminal_columns() is not None:
            echo("Watching; Ctrl-C ends it.", err=True)
        async for event in watching:
            self._connected()
            line = documented.event(event) if self._shape == "json" else _line(event, terminal_columns())
            wait_for_reader()
            click.echo(line)
            self.cursor = watching.cursor

    def checkpoint(self, cursor: str) -> None:
        """Note a response without an event."""
        self._connected()
        self.cursor = cursor or self.cursor

    def lost(self, failure: BackupSharingError, _: float) -> None:
        """Note that the connection is lost."""
        if not self._is_lost:
            echo(f"Reconnecting: {visible(failure.message)}", err=True)
        self._is_lost = True

    def _connected(self) -> None:
        if self._is_lost:
            echo("Connected again.", err=True)
        self._is_lost = False


def _time(at: datetime | Span | None) -> datetime | None:
    return at.ago() if isinstance(at, Span) else at


def _laid_out(events: Sequence[SharingEvent]) -> str:
    columns = terminal_columns()
    rows = [
        (
            *(moment(one.time), one.kind, one.backup_id, one.from_project_id, one.to_project_id),
            *(one.by_user_id, one.sharing_id),
        )
        for one in events
    ]
    used = [n for n in range(len(_TITLES)) if any(row[n] for row in rows)]
    as_table = table([_TITLES[n] for n in used], [[row[n] for n in used] for row in rows])
    if columns is None or fits(as_table, columns):
        return as_table
    return "\n".join(_line(event, columns) for event in events)


def _line(event: SharingEvent, columns: int | None) -> str:
    """Return an event as one line, or as a few lines of a narrow terminal."""
    kind = f"{visible(event.kind):<{_WIDEST_KIND}}"
    named = (
        ("from", event.from_project_id),
        ("to", event.to_project_id),
        ("by", event.by_user_id),
        ("sharing", event.sharing_id),
    )
    head = f"{moment(event.time)}  {kind}  {visible(event.backup_id)}"
    text = flowed([head, *(f"{name} {visible(value)}" for name, value in named if value)], columns)
    if columns is None or "NO_COLOR" in os.environ:
        return text
    return text.replace(kind, click.style(kind, fg=_COLOURS.get(event.kind, "blue")), 1)
