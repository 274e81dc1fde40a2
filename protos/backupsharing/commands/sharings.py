"""``backup-sharing share``, ``cancel``, ``list``, ``show`` and ``count``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import click

from backupsharing.client import (
    AsyncClient,
    BackupSharingError,
    OnConflict,
    Sharing,
    SharingDetail,
    SharingFilter,
    SortDir,
    SortKey,
)
from backupsharing.client.calls import PAGE_SIZE
from backupsharing.commands import documented
from backupsharing.commands.interrupting import echo
from backupsharing.commands.options import Command, not_empty, with_client
from backupsharing.commands.paging import first
from backupsharing.commands.text import Cell, fits, moment, records, rfc3339, table, terminal_columns
from backupsharing.commands.times import Span, time_option

Format = Literal["table", "json", "id"]

_FILTERS = (
    click.option("--received", is_flag=True, help="Sharings that the project received, instead of those that it gave."),
    click.option("--name", help="Only of backups whose name contains this text, ignoring case."),
    click.option("--backup-id", help="Only of the backup with this id."),
    click.option("--volume-id", help="Only of backups of this volume."),
    click.option("--status", help="Only of backups with this status."),
    click.option("--availability-zone", help="Only of backups in this availability zone."),
    click.option("--from-project-id", help="Only sharings that this project gave."),
    click.option("--to-project-id", help="Only sharings that this project received."),
)

_KEY = click.option(
    "--idempotency-key",
    callback=not_empty,
    help="Makes the command safe to repeat: the same key returns the first result again.",
)

_DRY_RUN = click.option("--dry-run", is_flag=True, help="Make all checks and show the result, but store nothing.")


def _format(*kinds: Format) -> Callable[[Command], Command]:
    what = "Output: a table, the documented JSON, or only ids, one per line." if "id" in kinds else "Output format."
    return click.option("--format", "shape", type=click.Choice(kinds), default="table", help=what)


def _filtered(command: Command) -> Command:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def _has_one_end(command: Command) -> Command:
    """Turn a span into a time, once for all attempts; reject it where a later command must have the same time."""

    @functools.wraps(command)
    def checked(
        *,
        expires: datetime | Span | None,
        dry_run: bool,
        shape: Format,
        idempotency_key: str | None,
        **options: Any,  # noqa: ANN401 -- click checks them
    ) -> None:
        if isinstance(expires, Span):
            if idempotency_key:
                raise click.UsageError(
                    f"--expires {expires.text} is another time in each command; with --idempotency-key, give a time"
                )
            expires = expires.from_now()
        if dry_run and shape == "id":
            raise click.UsageError("--dry-run creates no ids; expected another --format")
        command(expires=expires, dry_run=dry_run, shape=shape, idempotency_key=idempotency_key, **options)

    return checked


@click.command()
@click.argument("backup_id", metavar="BACKUP")
@click.argument("project_ids", metavar="PROJECT...", nargs=-1, required=True)
@click.option(
    "--on-conflict",
    type=click.Choice(get_args(OnConflict)),
    help="For projects that already have the backup: refuse the command, or return their existing sharings.",
)
@time_option("--expires", "Time when the new sharings end by themselves; a span counts from now.")
@_DRY_RUN
@_KEY
@_format("table", "json", "id")
@_has_one_end
@with_client
async def share(
    client: AsyncClient,
    /,
    backup_id: str,
    project_ids: tuple[str, ...],
    on_conflict: OnConflict | None,
    expires: datetime | None,
    dry_run: bool,
    idempotency_key: str | None,
    shape: Format,
) -> None:
    """Share a backup with projects: with all of them or with none."""
    try:
        shared = await client.share(
            backup_id,
            project_ids,
            on_conflict=on_conflict,
            expires_at=expires,
            validate_only=dry_run,
            idempotency_key=idempotency_key,
        )
    except BackupSharingError as failure:
        if expires is not None and failure.idempotency_key and failure.may_be_stored:
            echo(f"To repeat the command, give the same end: --expires {rfc3339(expires)}", err=True)
        raise
    _show(shared, shape, dry_run)


def _one_or_all(command: Command) -> Command:
    """Reject both options or neither, before any network access."""

    @functools.wraps(command)
    def checked(*, sharing_id: str | None, backup_id: str | None, **options: Any) -> None:  # noqa: ANN401 -- click checks them
        if bool(sharing_id) == bool(backup_id):
            raise click.UsageError("expected either a SHARING or --backup BACKUP")
        command(sharing_id=sharing_id, backup_id=backup_id, **options)

    return checked


@click.command()
@click.argument("sharing_id", metavar="[SHARING]", required=False)
@click.option("--backup", "backup_id", help="Cancel all sharings of this backup instead.")
@_DRY_RUN
@_KEY
@_format("table", "json", "id")
@_one_or_all
@with_client
async def cancel(
    client: AsyncClient,
    /,
    sharing_id: str | None,
    backup_id: str | None,
    dry_run: bool,
    idempotency_key: str | None,
    shape: Format,
) -> None:
    """Cancel a sharing that the project gave, or all sharings of a backup. Show the cancelled sharings."""
    if sharing_id:
        cancelled = await client.cancel(sharing_id, idempotency_key=idempotency_key, validate_only=dry_run)
        _show([cancelled], shape, dry_run)
    elif backup_id:
        _show(
            await client.cancel_all(backup_id, idempotency_key=idempotency_key, validate_only=dry_run), shape, dry_run
        )


@click.command("list")
@_filtered
@click.option("--sort-key", type=click.Choice(get_args(SortKey)), help="Field to sort by.  [default: created_at]")
@click.option("--sort-dir", type=click.Choice(get_args(SortDir)), help="Sort direction.  [default: desc]")
@click.option("--limit", type=click.IntRange(1, 2**31 - 1), help="Maximum number of sharings.  [default: all]")
@_format("table", "json", "id")
@with_client
async def list_(
    client: AsyncClient,
    /,
    sort_key: SortKey | None,
    sort_dir: SortDir | None,
    limit: int | None,
    shape: Format,
    received: bool,
    **which: str | None,
) -> None:
    """List the sharings that the project gave, or with --received those that it received."""
    page = min(limit or PAGE_SIZE, PAGE_SIZE)
    found = client.list(sort_key=sort_key, sort_dir=sort_dir, page_size=page, **_given(received, which))
    sharings = await first(found, limit)
    if shape == "json":
        echo(documented.details(sharings))
    else:
        _print([_row(sharing, received) for sharing in sharings], ("SHARING", *_titles(received)), shape)


@click.command()
@click.argument("sharing_id", metavar="SHARING")
@_format("table", "json")
@with_client
async def show(client: AsyncClient, /, sharing_id: str, shape: Format) -> None:
    """Show a sharing that the project gave or received, with its backup."""
    sharing = await client.get(sharing_id)
    echo(documented.detail(sharing) if shape == "json" else _described(sharing))


@click.command()
@_filtered
@_format("table", "json")
@with_client
async def count(client: AsyncClient, /, shape: Format, received: bool, **which: str | None) -> None:
    """Count the sharings that `list` shows with the same filters."""
    counted = await client.count(**_given(received, which))
    echo(documented.count(counted) if shape == "json" else str(counted))


COMMANDS = (share, cancel, list_, show, count)
"""All commands of this module."""


def _given(received: bool, which: dict[str, str | None]) -> SharingFilter:
    given: SharingFilter = {"received": received}
    for name, value in which.items():
        if value is not None:
            given[name] = value  # type: ignore[literal-required] # the names of the options are those of the filter
    return given


def _show(sharings: Sequence[Sharing], shape: Format, dry_run: bool) -> None:
    if dry_run:
        echo("Dry run: nothing is stored.", err=True)
    if shape == "json":
        echo(documented.sharings(sharings))
        return
    rows = [
        (
            *(one.id, one.backup_id, one.to_project_id),
            *(moment(at) for at in (one.created_at, one.expires_at, one.deleted_at)),
        )
        for one in sharings
    ]
    _print(rows, ("SHARING", "BACKUP", "TO", "SHARED (UTC)", "ENDS (UTC)", "CANCELLED (UTC)"), shape)


def _print(rows: Sequence[Sequence[Cell]], titles: Sequence[str], shape: Format) -> None:
    if shape == "id":
        for row in rows:
            echo(row[0])
    elif rows:
        # Leave out empty columns.
        used = [n for n in range(len(titles)) if any(row[n] not in (None, "") for row in rows)]
        echo(_laid_out([titles[n] for n in used], [[row[n] for n in used] for row in rows]))
    else:
        echo("No sharings.", err=True)


def _laid_out(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    as_table, columns = table(titles, rows), terminal_columns()
    return as_table if columns is None or fits(as_table, columns) else records(titles, rows)


def _titles(received: bool) -> Sequence[str]:
    return ("BACKUP", "NAME", "STATUS", "GIB", "FROM" if received else "TO", "SHARED (UTC)", "ENDS (UTC)")


def _row(sharing: SharingDetail, received: bool) -> Sequence[Cell]:
    backup, other = sharing.backup, sharing.from_project_id if received else sharing.to_project_id
    times = moment(sharing.created_at), moment(sharing.expires_at)
    return sharing.id, backup.id, backup.name, backup.status, backup.size, other, *times


def _described(sharing: SharingDetail) -> str:
    backup = sharing.backup
    rows: Sequence[tuple[str, Cell]] = (
        ("SHARING", sharing.id),
        ("FROM", sharing.from_project_id),
        ("TO", sharing.to_project_id),
        ("SHARED (UTC)", moment(sharing.created_at)),
        ("CHANGED (UTC)", moment(sharing.updated_at)),
        ("ENDS (UTC)", moment(sharing.expires_at)),
        ("BACKUP", backup.id),
        ("NAME", backup.name),
        ("STATUS", backup.status),
        ("GIB", backup.size),
        ("VOLUME", backup.volume_id),
        ("ZONE", backup.availability_zone),
        ("DESCRIPTION", backup.description),
        ("FAILED BECAUSE", backup.fail_reason),
        ("DATA AS OF (UTC)", moment(backup.data_timestamp)),
        ("BACKED UP (UTC)", moment(backup.created_at)),
    )
    known = [row for row in rows if row[1] not in (None, "")]
    return records([title for title, _ in known], [[value for _, value in known]])
