"""``backup-sharing health``: a probe of a server's health, for supervisors that run commands."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import click
import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from backupsharing.client import BadEndpoint
from backupsharing.client.connecting import explained
from backupsharing.client.endpoint import Endpoint
from backupsharing.commands.interrupting import interruptible
from backupsharing.commands.options import not_empty, number
from backupsharing.commands.text import visible

NOT_SERVING = 1
"""Exit code for a server that does not accept calls, or does not answer."""

_CHECK = "/grpc.health.v1.Health/Check"

_AGAIN_SECONDS = 0.25
"""Seconds between two checks with ``--wait``."""

_SHOWN = 300
"""Maximum characters of a server's message."""

_FILE = click.Path(path_type=Path)
_SECONDS = click.FloatRange(min=0, max=86_400)


@click.command()
@click.option(
    "--target",
    "--server",
    "target",
    envvar="BACKUP_SHARING_SERVER",
    default="127.0.0.1:50051",
    show_envvar=True,
    callback=not_empty,
    help="HOST:PORT or unix:PATH of the server's gRPC or health port.",
)
@click.option("--service", default="", show_default=False, help="Name of a service. Without it: the whole server.")
@click.option(
    "--ca",
    envvar="BACKUP_SHARING_CA",
    type=_FILE,
    show_envvar=True,
    help="PEM file with the CA of the server's certificate. Without it: plain text.",
)
@click.option(
    "--certificate",
    envvar="BACKUP_SHARING_CERTIFICATE",
    type=_FILE,
    show_envvar=True,
    help="PEM file with the client's certificate.",
)
@click.option(
    "--key", envvar="BACKUP_SHARING_KEY", type=_FILE, show_envvar=True, help="PEM file with the key of the certificate."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, max=86_400, min_open=True),
    default=5.0,
    callback=number,
    help="Seconds for one check.",
)
@click.option(
    "--wait",
    type=_SECONDS,
    default=0.0,
    callback=number,
    help="Seconds to repeat the check until the server is serving.",
)
@interruptible
def health(
    target: str, service: str, ca: Path | None, certificate: Path | None, key: Path | None, timeout: float, wait: float
) -> None:
    """Tell whether a server accepts calls, by grpc.health.v1; no token is needed or sent.

    The exit code is 0 if it does, 1 if it does not or does not answer, and 2 if the arguments are invalid.
    """
    # gRPC's own output is for its developers; the message has all that users need.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        # Plain text is allowed to any machine: nothing secret is sent.
        endpoint = Endpoint(target, ca, certificate, key, insecure=True)
        problem = asyncio.run(_problem_after(wait, endpoint, service, timeout, target))
    except (BadEndpoint, UnicodeEncodeError) as error:
        raise click.UsageError(visible(str(error))) from None
    if problem:
        click.echo(visible(problem if target in problem else f"{target}: {problem}"), err=True)
        click.get_current_context().exit(NOT_SERVING)
    click.echo("SERVING")


async def _problem_after(wait: float, endpoint: Endpoint, service: str, seconds: float, target: str) -> str | None:
    """Return why the server accepts no calls, None if it does; ask again for up to ``wait`` seconds."""
    until = time.monotonic() + wait
    async with endpoint.aio_channel() as channel:
        while problem := await _problem(channel, service, seconds, target):
            if time.monotonic() + _AGAIN_SECONDS >= until:
                break
            await asyncio.sleep(_AGAIN_SECONDS)
    return problem


async def _problem(channel: grpc.aio.Channel, service: str, seconds: float, target: str) -> str | None:
    """Return why the server accepts no calls, None if it does."""
    check: grpc.aio.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
        _CHECK, HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    try:
        status = (await check(HealthCheckRequest(service=service), timeout=seconds)).status
    except grpc.RpcError as error:
        return _described(error.code(), (error.details() or "")[:_SHOWN], service, target)
    if status == HealthCheckResponse.SERVING:
        return None
    known = status in HealthCheckResponse.ServingStatus.values()
    return str(HealthCheckResponse.ServingStatus.Name(status)) if known else f"status {status}"


def _described(code: grpc.StatusCode, details: str, service: str, target: str) -> str:
    match code:
        case grpc.StatusCode.NOT_FOUND:
            return f"There is no service {service!r}."
        case grpc.StatusCode.UNIMPLEMENTED:
            return "The server has no health service."
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return "The server did not answer in time."
        case grpc.StatusCode.UNAVAILABLE:
            return explained(details, target)
        case _:
            return f"{code.name}: {details}"


COMMANDS = (health,)
"""All commands of this module."""
