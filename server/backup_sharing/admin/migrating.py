"""``backup-sharing migrate``: which tables a database has, and bringing them up to date."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import click

from backup_sharing.store.migrations import MIGRATIONS, SchemaStatus
from backup_sharing.store.opening import checked, migrate, plan, schema_status
from backup_sharing.store.unusable import UnusableDatabase


def database_named(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Check the name of a database that an option gives."""
    try:
        return checked(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


_database = click.option(
    "--database",
    envvar="BACKUP_SHARING_DATABASE",
    required=True,
    show_envvar=True,
    callback=database_named,
    help="SQLite file or postgresql://USER@HOST/NAME, as the server has it.",
)


@click.group("migrate")
def migrating() -> None:
    """Bring the tables of a database up to date.

    A server makes the tables of an empty database by itself. Older tables are changed only by 'apply' (or
    by a server that is started with --migrate): until then servers of the new version serve no call, and
    go on by themselves when it is done.
    """


@migrating.command()
@_database
def status(database: str) -> None:
    """Say which migrations a database has, and which are missing.

    Exits with 0 if it is up to date, with 3 if migrations are missing, with 4 if it is newer than this program.
    """
    with _told():
        found = schema_status(database)
    for line in _lines(found):
        click.echo(line)
    if found.unknown:
        raise SystemExit(4)
    if found.pending:
        raise SystemExit(3)


@migrating.command("plan")
@_database
def plan_(database: str) -> None:
    """Show what 'apply' would execute now. Changes nothing."""
    with _told():
        steps = plan(database)
    about = {migration.name: migration.about for migration in MIGRATIONS}
    for name, statements in steps.items():
        click.echo(f"-- {name}: {about[name]}")
        for statement in statements:
            click.echo(f"{_outdented(statement)};")
    if not steps:
        click.echo("Nothing to do: the database is up to date.")


@migrating.command()
@_database
def apply(database: str) -> None:
    """Apply what is missing, all or nothing. Of several that start at once one does it and the others wait."""
    with _told():
        before = migrate(database)
    for name in before.pending:
        click.echo(f"applied {name}")
    if not before.pending:
        click.echo("Nothing to do: the database is up to date.")


@contextmanager
def _told() -> Iterator[None]:
    """Say in one line why a database cannot be used."""
    try:
        yield
    except UnusableDatabase as error:
        raise click.ClickException(str(error)) from None


def _lines(found: SchemaStatus) -> Iterator[str]:
    for migration in MIGRATIONS:
        yield f"{'applied' if migration.name in found.applied else 'missing'}  {migration.name}  {migration.about}"
    yield from (f"unknown  {name}  of a newer version of this program" for name in found.unknown)


def _outdented(statement: str) -> str:
    return textwrap.dedent(statement).strip()
