"""``backup-sharing token``: add a token to a server's token file."""

from __future__ import annotations

import time
from pathlib import Path

import click

from backup_sharing.errors import InvalidArgument
from backup_sharing.identity.static import BadTokenFile, add_token
from backup_sharing.usecases import policy
from backup_sharing.usecases.checks import Checks


@click.command()
@click.option("--file", type=click.Path(path_type=Path), required=True, help="Token file; created if missing.")
@click.option("--project", default="", help="Id of the token's project; omit for a service.")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(sorted(policy.ROLES)))
@click.option("--user", default="", help="Name of the holder in logs.")
@click.option(
    "--expires-in", type=click.FloatRange(min=0, min_open=True), help="Days until the token expires.  [default: never]"
)
def token(file: Path, project: str, roles: tuple[str, ...], user: str, expires_in: float | None) -> None:
    """Create a token and print it; it cannot be printed again, because the file holds only its digest.

    A server reads the file at start.
    """
    checks = Checks()
    if project or set(roles) != {"service"}:
        checks.project_id("--project", project)
    try:
        checks.done()
        expires_at = None if expires_in is None else time.time() + expires_in * 86400
        click.echo(add_token(file, project, roles, user, expires_at))
    except (InvalidArgument, BadTokenFile) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
