"""``backup-sharing check``."""

from __future__ import annotations

import functools
from typing import Any, Literal

import click

from backupsharing.client import Access, AsyncClient
from backupsharing.commands import documented
from backupsharing.commands.interrupting import echo, interruptible
from backupsharing.commands.options import Command, with_client
from backupsharing.commands.text import moment, records

NO = 1
"""Exit code for "no", as of ``grep``."""


class _NoAnswer(click.ClickException):
    """A failure, with another exit code than "no"."""

    exit_code = 2


def _failing_apart(command: Command) -> Command:
    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:  # noqa: ANN401 -- click checks them
        try:
            command(*args, **options)
        except click.UsageError:
            raise
        except click.ClickException as error:
            raise _NoAnswer(error.message) from None

    return run


@click.command()
@click.argument("backup_id", metavar="BACKUP")
@click.argument("project_id", metavar="PROJECT")
@click.option("--format", "shape", type=click.Choice(("text", "json")), default="text", help="Output format.")
@interruptible
@_failing_apart
@functools.partial(with_client, needs_project=False)
async def check(client: AsyncClient, /, backup_id: str, project_id: str, shape: Literal["text", "json"]) -> None:
    """Tell whether a project may read a backup: it owns the backup, or has an active sharing.

    A project may ask about itself, and about backups that it owns; for other questions the answer is "no". The
    roles service and admin may ask about all.

    The exit code is 0 for "yes", 1 for "no", and 2 if there is no answer: the arguments are invalid or the call failed.
    """
    access = await client.check_access(backup_id, project_id)
    echo(documented.access(access) if shape == "json" else _described(access))
    if not access:
        click.get_current_context().exit(NO)


COMMANDS = (check,)
"""All commands of this module."""


def _described(access: Access) -> str:
    rows = (
        ("ALLOWED", "yes" if access else "no"),
        ("BASIS", access.basis),
        ("SHARING", access.sharing_id),
        ("OWNER", access.owner),
        ("ENDS (UTC)", moment(access.expires_at)),
    )
    known = [row for row in rows if row[1]]
    return records([title for title, _ in known], [[value for _, value in known]])
