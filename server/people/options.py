"""Options that commands have in common: where the server is, and who is calling."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from backupsharing.client import BackupSharingError, BadDoor, Client
from server.people.login import CannotLogIn, NobodyKnown, identify
from server.people.text import visible

P = ParamSpec("P")
Command = Callable[..., None]

_FILE = click.Path(path_type=Path)
_DOOR = (
    click.option("--server", envvar="BACKUP_SHARING_SERVER", default="127.0.0.1:50051", show_envvar=True,
                 help="HOST:PORT of the server's gRPC door."),
    click.option("--ca", type=_FILE, help="PEM file with the CA of the server's certificate."),
    click.option("--certificate", type=_FILE, help="PEM file to show to the server."),
    click.option("--key", type=_FILE, help="PEM file with its key."),
)  # fmt: skip
_CALLER = (
    click.option("--token", envvar=["OS_TOKEN", "BACKUP_SHARING_TOKEN"], default="", show_default=False,
                 show_envvar=True, help="Token of the project; without one, OS_AUTH_URL and the like log in."),
    click.option("--project", envvar=["OS_PROJECT_ID"], default="", show_default=False, show_envvar=True,
                 help="Id of the project that calls."),
    click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0,
                 help="Seconds for a call, all retries included."),
)  # fmt: skip


def door_options(command: Command) -> Command:
    """Give a command ``--server``, ``--ca``, ``--certificate`` and ``--key``; files that are half given are refused."""

    @functools.wraps(command)
    def checked(*args: Any, **options: Any) -> None:  # noqa: ANN401 -- click checks them
        ca, certificate, key = (options[name] for name in ("ca", "certificate", "key"))
        if bool(certificate) != bool(key):
            raise click.UsageError("--certificate and --key belong together")
        if certificate and not ca:
            raise click.UsageError("--ca is missing beside --certificate and --key")
        command(*args, **options)

    return functools.reduce(lambda decorated, option: option(decorated), reversed(_DOOR), checked)


def with_client(command: Callable[Concatenate[Client, P], None]) -> Command:
    """Give a command a client, made from options and environment; its failures become one line and exit code 1."""

    @functools.wraps(command)
    def run(*args: Any, server: str, **options: Any) -> None:  # noqa: ANN401 -- click checks them
        files = {name: options.pop(name) for name in ("ca", "certificate", "key")}
        project, token, timeout = (options.pop(name) for name in ("project", "token", "timeout"))
        try:
            known = identify(project, token, os.environ, has_certificate=files["certificate"] is not None)
            with Client(server, project=known.project, token=known.token, timeout=timeout, **files) as client:
                command(client, *args, **options)
        except NobodyKnown as error:
            raise click.UsageError(str(error)) from None
        except (CannotLogIn, BadDoor) as error:
            raise click.ClickException(visible(str(error))) from None
        except BackupSharingError as failure:
            raise click.ClickException(visible(_line(failure, server))) from None

    return door_options(functools.reduce(lambda decorated, option: option(decorated), reversed(_CALLER), run))


def _line(failure: BackupSharingError, server: str) -> str:
    if not failure.reason:
        return f"{server}: {failure.status.name}: {failure.message}"
    traced = f" ({failure.request_id})" if failure.request_id else ""
    return f"{failure.reason} {failure.code}: {failure.message}{traced}"
