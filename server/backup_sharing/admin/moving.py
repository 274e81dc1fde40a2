"""``backup-sharing copy`` and ``backup``: copy all data into another database, or into a backup file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click
from click.termui import progressbar

from backup_sharing.admin.migrating import database_named
from backup_sharing.store.opening import file_of
from backup_sharing.store.progress import Advance
from backup_sharing.store.sqlite.backup import back_up
from backup_sharing.store.transfer.opening import open_transfer
from backup_sharing.store.transfer.transfer import Checked
from backup_sharing.store.unusable import UnusableDatabase

_AGAIN = "Run the same command again: the copy resumes where it stopped."
_INTERRUPTED = 130
"""Exit status after an interruption by SIGINT."""


@click.command()
@click.option(
    "--from", "source", required=True, callback=database_named, help="Source database: a SQLite file or a URL."
)
@click.option("--to", "target", required=True, callback=database_named, help="Target database, of any engine.")
def copy(source: str, target: str) -> None:
    """Copy all data into another database, and compare both: sqlite:///FILE and postgresql://… in any combination.

    Stop the servers first: changes during the copy may be missing in the target. The comparison at the end reports
    them, and a second run of the same command repairs them. An interrupted copy resumes where it stopped.

    The tables of both must be of this version; an empty target gets tables. A target with other data is refused.
    Exits with 0 only if both hold the same data in the end.
    """
    try:
        with open_transfer(source, target, time.time_ns() // 1000) as transfer:
            transfer.refuse_other_data(bar)
            with _resumable():
                written = transfer.carry(bar)
                found = transfer.check(bar)
    except UnusableDatabase as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        _end_interrupted("Interrupted; nothing was copied.")
    _summarize(found, written)


@click.command()
@click.option(
    "--database", envvar="BACKUP_SHARING_DATABASE", required=True, show_envvar=True, callback=database_named,
    help="SQLite file, as in the server's settings.",
)  # fmt: skip
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, help="File to create.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def backup(database: str, target: Path, force: bool) -> None:
    """Back up a SQLite database into a file while servers run: a complete and checked snapshot.

    The file appears under its name only after the check. For PostgreSQL use pg_dump.
    """
    source = file_of(database)
    if source is None:
        raise click.UsageError("this command is for SQLite files; use pg_dump for PostgreSQL")
    try:
        size = back_up(source, target, replace=force, bar=bar)
    except UnusableDatabase as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        _end_interrupted(f"Interrupted; there is no new {target}.")
    click.echo(f"{target}: {size} bytes, checked")


@contextmanager
def _resumable() -> Iterator[None]:
    """Add the advice to resume to an error or interruption."""
    try:
        yield
    except UnusableDatabase as error:
        raise click.ClickException(f"{error}\n{_AGAIN}") from None
    except KeyboardInterrupt:
        _end_interrupted(f"Interrupted. {_AGAIN}")


def _end_interrupted(message: str) -> NoReturn:
    click.echo(f"\n{message}", err=True)
    raise SystemExit(_INTERRUPTED)


@contextmanager
def bar(label: str, length: int) -> Iterator[Advance]:
    """Show a progress bar if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update


def _summarize(found: Sequence[Checked], written: int) -> None:
    """Print the result of the comparison; exit with 1 if the databases differ."""
    width = max(len(each.table) for each in found)
    for each in found:
        same = "the same" if not each.differences else f"{each.differences} differ"
        click.echo(f"{each.table:<{width}}  {each.source_rows} rows  {each.source_digest}  {same}")
    click.echo(f"{written} rows written")
    different = [each for each in found if each.differences]
    if not different:
        click.echo("Both databases hold the same data.")
        return
    for each in different:
        click.echo(
            f"Error: {each.first} ({each.source_rows} rows in the source, {each.target_rows} in the target)", err=True
        )
    click.echo(f"Did servers change the source during the copy? Stop them. {_AGAIN}", err=True)
    raise SystemExit(1)
