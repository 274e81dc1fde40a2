"""Common options of commands: the server's address and TLS files, and the caller's credentials."""

from __future__ import annotations

import asyncio
import errno
import functools
import io
import math
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from backupsharing.client import AsyncClient, BackupSharingError, BadEndpoint
from backupsharing.client.target import is_local
from backupsharing.commands.login import CannotLogIn, NoCredentials, identify
from backupsharing.commands.text import visible

P = ParamSpec("P")
Command = Callable[..., None]


def not_empty(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Reject an empty value, which a shell passes for an unset variable."""
    del context, option
    if value == "":
        raise click.BadParameter("it is empty")
    return value


def number(context: click.Context, option: click.Parameter, value: float) -> float:
    """Reject ``nan``, which no range excludes."""
    del context, option
    if math.isnan(value):
        raise click.BadParameter("nan is not a number of seconds")
    return value


_FILE = click.Path(path_type=Path)
_DOOR = (
    click.option("--server", envvar="BACKUP_SHARING_SERVER", default="127.0.0.1:50051", show_envvar=True,
                 callback=not_empty, help="HOST:PORT of the server's gRPC port."),
    click.option("--ca", envvar="BACKUP_SHARING_CA", type=_FILE, show_envvar=True,
                 help="PEM file with the CA of the server's certificate. Without it: plain text, on this machine."),
    click.option("--insecure", is_flag=True, envvar="BACKUP_SHARING_INSECURE", show_envvar=True,
                 help="Allow plain text to other machines; everybody between can then read the token."),
    click.option("--certificate", envvar="BACKUP_SHARING_CERTIFICATE", type=_FILE, show_envvar=True,
                 help="PEM file with the client's certificate."),
    click.option("--key", envvar="BACKUP_SHARING_KEY", type=_FILE, show_envvar=True,
                 help="PEM file with the key of the certificate."),
)  # fmt: skip
_CALLER = (
    click.option("--token", envvar=["OS_TOKEN", "BACKUP_SHARING_TOKEN"], default="", show_default=False,
                 show_envvar=True, help="Token of the project. Without it: log in to Keystone with OS_AUTH_URL etc."),
    click.option("--project", envvar=["OS_PROJECT_ID"], default="", show_default=False, show_envvar=True,
                 help="Id of the caller's project."),
    click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, callback=number,
                 help="Seconds for a call, including all retries."),
)  # fmt: skip


def connection_options(command: Command) -> Command:
    """Add ``--server``, ``--ca``, ``--insecure``, ``--certificate`` and ``--key`` to a command.

    Reject incomplete sets of files, and plain text to other machines unless it is allowed.
    """

    @functools.wraps(command)
    def checked(*args: Any, **options: Any) -> None:  # noqa: ANN401 -- click checks them
        ca, certificate, key = (options[name] for name in ("ca", "certificate", "key"))
        if bool(certificate) != bool(key):
            raise click.UsageError("--certificate and --key belong together")
        if certificate and not ca:
            raise click.UsageError("--ca is missing: --certificate and --key need --ca")
        if not (ca or options["insecure"] or is_local(options["server"])):
            raise click.UsageError(
                f"--ca is missing: the token would be sent to {options['server']} in plain text; --insecure allows that"
            )
        command(*args, **options)

    return functools.reduce(lambda decorated, option: option(decorated), reversed(_DOOR), checked)


def with_client(
    command: Callable[Concatenate[AsyncClient, P], Awaitable[None]], *, needs_project: bool = True
) -> Command:
    """Run a command with a client that is made from options and environment.

    A failure becomes one line and exit code 1.

    Without ``needs_project``, or with an option ``all_projects`` of the command, no project has to be known.
    """

    @functools.wraps(command)
    def run(*args: Any, server: str, **options: Any) -> None:  # noqa: ANN401 -- click checks them
        files = {name: options.pop(name) for name in ("ca", "insecure", "certificate", "key")}
        project, token, timeout = (options.pop(name) for name in ("project", "token", "timeout"))
        of_all = options.pop("all_projects", False)
        # gRPC's own output is for its developers; the exception has all that users need.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        _refuse_bytes((server, project, token, *options.values()))
        if sys.stdout is not None and isinstance(sys.stdout, io.TextIOWrapper):
            # Names come from other projects, and may have characters that this terminal cannot write.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            known = identify(
                project,
                token,
                has_certificate=files["certificate"] is not None,
                needs_project=needs_project and not of_all,
                timeout=timeout,
            )
            of = "" if of_all else known.project
            client = AsyncClient(server, project=of, token=known.token, timeout=timeout, **files)
            asyncio.run(_with(client, functools.partial(command, client, *args, **options)))
        except NoCredentials as error:
            raise click.UsageError(str(error)) from None
        except (CannotLogIn, BadEndpoint) as error:
            raise click.ClickException(visible(str(error))) from None
        except BackupSharingError as failure:
            raise click.ClickException(visible(_line(failure, server))) from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # click handles a closed pipe without a message
            raise click.ClickException(f"the output cannot be written: {error.strerror}") from None

    return connection_options(functools.reduce(lambda decorated, option: option(decorated), reversed(_CALLER), run))


async def _with(client: AsyncClient, command: Callable[[], Awaitable[None]]) -> None:
    async with client:
        await command()


def _refuse_bytes(given: Iterable[object]) -> None:
    for value in given:
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and any("\ud800" <= one <= "\udfff" for one in text):
                raise click.UsageError(f"{text.encode(errors='surrogateescape')!r} is not UTF-8 text")


def _line(failure: BackupSharingError, server: str) -> str:
    if failure.reason:
        traced = f" ({failure.request_id})" if failure.request_id else ""
        line = f"{failure.reason} {failure.code}: {failure.message}{traced}"
    else:
        line = f"{server}: {failure.status.name}: {failure.message}"
    if failure.idempotency_key and failure.may_be_stored:
        line += f"; the change may be stored; to make sure, repeat it with --idempotency-key {failure.idempotency_key}"
    return line
