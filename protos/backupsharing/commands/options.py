"""Options that commands have in common: where the server is, and who is calling."""

from __future__ import annotations

import errno
import functools
import io
import math
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from backupsharing.client import BackupSharingError, BadDoor, Client
from backupsharing.commands.login import CannotLogIn, NobodyKnown, identify
from backupsharing.commands.text import visible

P = ParamSpec("P")
Command = Callable[..., None]


def not_empty(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty text, as a shell gives for a variable that is not set."""
    del context, option
    if value == "":
        raise click.BadParameter("it is empty")
    return value


def _number(context: click.Context, option: click.Parameter, value: float) -> float:
    del context, option
    if math.isnan(value):
        raise click.BadParameter("nan is no time")
    return value


_FILE = click.Path(path_type=Path)
_DOOR = (
    click.option("--server", envvar="BACKUP_SHARING_SERVER", default="127.0.0.1:50051", show_envvar=True,
                 callback=not_empty, help="HOST:PORT of the server's gRPC door."),
    click.option("--ca", envvar="BACKUP_SHARING_CA", type=_FILE, show_envvar=True,
                 help="PEM file with the CA of the server's certificate; without it plain text is spoken."),
    click.option("--certificate", envvar="BACKUP_SHARING_CERTIFICATE", type=_FILE, show_envvar=True,
                 help="PEM file to show to the server."),
    click.option("--key", envvar="BACKUP_SHARING_KEY", type=_FILE, show_envvar=True, help="PEM file with its key."),
)  # fmt: skip
_CALLER = (
    click.option("--token", envvar=["OS_TOKEN", "BACKUP_SHARING_TOKEN"], default="", show_default=False,
                 show_envvar=True, help="Token of the project; without one, OS_AUTH_URL and the like log in."),
    click.option("--project", envvar=["OS_PROJECT_ID"], default="", show_default=False, show_envvar=True,
                 help="Id of the project that calls."),
    click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, callback=_number,
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
        # What gRPC's core prints is for its developers; what a person can use is in the failure.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        _refuse_bytes((server, project, token, *options.values()))
        if sys.stdout is not None and isinstance(sys.stdout, io.TextIOWrapper):
            # Names come from other projects, and need not be of characters that this one's terminal knows.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            known = identify(
                project, token, os.environ, has_certificate=files["certificate"] is not None, timeout=timeout
            )
            with Client(server, project=known.project, token=known.token, timeout=timeout, **files) as client:
                command(client, *args, **options)
        except NobodyKnown as error:
            raise click.UsageError(str(error)) from None
        except (CannotLogIn, BadDoor) as error:
            raise click.ClickException(visible(str(error))) from None
        except BackupSharingError as failure:
            raise click.ClickException(visible(_line(failure, server, speaks_tls=files["ca"] is not None))) from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # click ends such a command quietly
            raise click.ClickException(f"the answer cannot be written: {error.strerror}") from None

    return door_options(functools.reduce(lambda decorated, option: option(decorated), reversed(_CALLER), run))


def _refuse_bytes(given: Iterable[object]) -> None:
    for value in given:
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and any("\ud800" <= one <= "\udfff" for one in text):
                raise click.UsageError(f"{text.encode(errors='surrogateescape')!r} is no text in UTF-8")


def _line(failure: BackupSharingError, server: str, *, speaks_tls: bool) -> str:
    if failure.reason:
        traced = f" ({failure.request_id})" if failure.request_id else ""
        line = f"{failure.reason} {failure.code}: {failure.message}{traced}"
    else:
        line = f"{server}: {failure.status.name}: {failure.message}"
        if not speaks_tls and "Socket closed" in failure.message:
            line += " (if it speaks TLS, --ca is missing)"
    if failure.idempotency_key and failure.may_be_stored:
        line += f"; it may be done: make sure with --idempotency-key {failure.idempotency_key}"
    return line
