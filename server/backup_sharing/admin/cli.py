"""``backup-sharing``: sharing for people, the demo and administration."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import IO

import click

from backup_sharing.admin.demo import DemoFailed, run_demo
from backup_sharing.admin.importing import CannotImport, import_backups
from backup_sharing.admin.migrating import migrating
from backup_sharing.admin.moving import backup, copy
from backup_sharing.config import ADVICE
from backup_sharing.errors import InvalidArgument
from backup_sharing.identity.static import BadTokenFile, add_token
from backup_sharing.usecases import policy
from backup_sharing.usecases.checks import Checks
from backupsharing.client import Door
from backupsharing.commands.options import door_options
from backupsharing.commands.sharings import COMMANDS
from programkit.secrets import secret_in


class _Commands(click.Group):
    """Commands, none of which takes a password on its command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse it before anything else can repeat it."""
        if option := secret_in(args):
            raise click.UsageError(f"{option}: {ADVICE}")
        return super().parse_args(ctx, args)


@click.group(cls=_Commands, context_settings={"show_default": True, "max_content_width": 100})
@click.version_option(package_name="backup-sharing")
def main() -> None:
    """Share volume backups between cloud projects.

    backup-sharing-server and backup-sharing-gateway run the service; these commands are for using
    it (share, cancel, list, show, count), for trying it, and for looking after it.
    """


@main.command()
@click.option("--listen", default="127.0.0.1:8080", help="HOST:PORT for REST; loopback only.")
@click.option("--grpc-listen", default="127.0.0.1:50051", help="HOST:PORT for gRPC; loopback only.")
@click.option("--data", type=click.Path(path_type=Path), default=Path("data"), help="Folder for database and tokens.")
def demo(listen: str, grpc_listen: str, data: Path) -> None:
    """Run server and gateway on this machine, with the documented example in them.

    Both stop together. Everything is kept in the data folder; running the demo again goes on with it.
    """
    try:
        sys.exit(asyncio.run(run_demo(listen, grpc_listen, data)))
    except DemoFailed as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option("--file", type=click.Path(path_type=Path), required=True, help="Token file; made if it is missing.")
@click.option("--project", default="", help="Project id the token belongs to; leave out for a service.")
@click.option("--role", "roles", multiple=True, required=True, type=click.Choice(sorted(policy.ROLES)))
@click.option("--user", default="", help="How the holder is called in logs.")
@click.option(
    "--expires-in", type=click.FloatRange(min=0, min_open=True), help="Days it is good for.  [default: for ever]"
)
def token(file: Path, project: str, roles: tuple[str, ...], user: str, expires_in: float | None) -> None:
    """Make a token and show it, this once; the file keeps only a digest of it.

    A server reads the file when it starts.
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


@main.command("policy")
def policy_() -> None:
    """Print who may call what."""
    rows = list(policy.table())
    width = max(len(method) for method, _ in rows)
    for method, roles in rows:
        click.echo(f"{method:<{width}}  {roles}")
    click.echo(f"\nOf other projects than the one in the request only '{policy.ANY_PROJECT}' is let in.")


@main.command("import")
@click.argument("file", type=click.File("rb"))
@door_options
@click.option("--token", envvar="BACKUP_SHARING_TOKEN", default="", show_default=False, show_envvar=True,
              help="Token with the role service; not needed with a certificate that has it.")  # fmt: skip
def import_(
    file: IO[bytes], server: str, token: str, ca: Path | None, certificate: Path | None, key: Path | None
) -> None:
    """Put backups into a running server, one JSON object a line.

    A line has the keys of a documented `backup` and its owner's `project_id`; `-` reads standard
    input. Lines that cannot be imported are listed and the others go on; then the exit code is 1.
    Importing the same file again does no harm.
    """
    if not token and certificate is None:
        raise click.UsageError("--token (BACKUP_SHARING_TOKEN) is missing, and there is no --certificate")
    try:
        failed = asyncio.run(import_backups(file, Door(server, ca, certificate, key), token))
    except CannotImport as error:
        raise click.ClickException(str(error)) from None
    sys.exit(1 if failed else 0)


for _command in (*COMMANDS, migrating, copy, backup):
    main.add_command(_command)


if __name__ == "__main__":
    main()
