"""``backup-sharing migrate``: show and apply database migrations."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import click

from backup_sharing.store.migrations import MIGRATIONS, SchemaStatus
from backup_sharing.store.opening import checked, migrate, plan, schema_status
from backup_sharing.store.unusable import UnusableDatabase


def database_named(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Validate the value of a database option."""
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
    help="SQLite file or postgresql://USER@HOST/NAME, as in the server's settings.",
)


@click.group("migrate")
def migrating() -> None:
    """Show and apply database migrations.

    A server creates the tables of an empty database by itself. Only 'apply' (or a server started with
    --migrate) changes older tables. Until then, servers of the new version refuse all calls; they start to
    serve without a restart when the migrations are applied.
    """


@migrating.command()
@_database
def status(database: str) -> None:
    """List the applied and the missing migrations of a database.

    Exits with 0 if it is up to date, with 3 if migrations are missing, with 4 if it is newer than this program.
    """
    with _one_line_errors():
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
    """Print the statements that 'apply' would execute. Changes nothing."""
    with _one_line_errors():
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
    """Apply all missing migrations in one transaction. Of several concurrent runs, one applies and the others wait."""
    with _one_line_errors():
        before = migrate(database)
    for name in before.pending:
        click.echo(f"applied {name}")
    if not before.pending:
        click.echo("Nothing to do: the database is up to date.")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Report an unusable database in one line."""
    try:
        yield
    except UnusableDatabase as error:
        raise click.ClickException(str(error)) from None


def _lines(found: SchemaStatus) -> Iterator[str]:
    for migration in MIGRATIONS:
        yield f"{'applied' if migration.name in found.applied else 'missing'}  {migration.name}  {migration.about}"
    yield from (f"unknown  {name}  from a newer version of this program" for name in found.unknown)


def _outdented(statement: str) -> str:
    return textwrap.dedent(statement).strip()
