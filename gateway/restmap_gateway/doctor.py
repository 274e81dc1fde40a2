"""Checks of a gateway, by its settings: its servers, their health, and certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from programkit.certificates import CannotUseTls
from programkit.doctor.certificates import authority, pair
from programkit.doctor.findings import Check, Finding, failed, ok, warning
from programkit.doctor.process import descriptors
from restmap_gateway.config import Settings
from restmap_gateway.upstream.resolver import DNS, look_up
from restmap_gateway.upstream.server_address import ServerAddress
from restmap_gateway.upstream.tls import UpstreamTls

_MOST_BY_DEFAULT: Final = 10_000
_RESERVE: Final = 64
"""Open files besides connections."""


def checks(settings: Settings, seconds: float) -> Mapping[str, Check]:
    """Return the checks of a gateway by name; each should end within ``seconds``."""
    found: dict[str, Check] = {
        f"upstream {target}": partial(_upstream, settings, target, seconds) for target in settings.upstream
    }
    if settings.tls_certificate is not None and settings.tls_key is not None:
        found["certificate"] = pair(settings.tls_certificate, settings.tls_key)
    if settings.upstream_ca is not None:
        found["upstream CA"] = authority(settings.upstream_ca)
    if settings.upstream_certificate is not None and settings.upstream_key is not None:
        found["upstream certificate"] = pair(settings.upstream_certificate, settings.upstream_key)
    found["open files"] = descriptors((settings.max_connections or _MOST_BY_DEFAULT) + _RESERVE)
    return found


def _upstream(settings: Settings, target: str, seconds: float) -> Iterator[Finding]:
    """Check that each address of a target is a healthy server."""
    try:
        addresses = asyncio.run(_addresses(target))
        tls = None
        if settings.upstream_ca is not None:
            pair = (settings.upstream_certificate, settings.upstream_key)
            tls = UpstreamTls(settings.upstream_ca, *pair, settings.upstream_name)
    except (OSError, UnicodeError) as error:
        yield failed(f"the name cannot be looked up: {error}", "check the name and this machine's DNS servers")
        return
    except CannotUseTls as error:
        yield failed(str(error), "check the files and their modes")
        return
    for address in addresses:
        # All addresses of a name share the time, and gRPC retries a connection until the deadline.
        yield _health(address, tls, 0.8 * seconds / len(addresses))


async def _addresses(target: str) -> Sequence[ServerAddress]:
    if not target.startswith(DNS):
        return [ServerAddress(target)]
    name = target.removeprefix(DNS)
    host, _, port = name.rpartition(":")
    found = await look_up(host.strip("[]"), int(port))
    return [ServerAddress(address, name) for address in found]


def _health(address: ServerAddress, tls: UpstreamTls | None, seconds: float) -> Finding:
    if tls is None:
        channel = grpc.insecure_channel(address.target)
    else:
        name = [("grpc.ssl_target_name_override", tls.name or address.host)]
        channel = grpc.secure_channel(address.target, tls.credentials, options=name)
    with channel:
        try:
            answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=seconds)
        except grpc.RpcError as error:
            return _no_health(address, error)
    if answer.status == HealthCheckResponse.SERVING:
        return ok(f"{address.target}: serves")
    status = HealthCheckResponse.ServingStatus.Name(answer.status)
    return failed(f"{address.target}: {status}", "look at the log of the server")


def _no_health(address: ServerAddress, error: grpc.RpcError) -> Finding:
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        text = f"{address.target}: reachable, but has no health service"
        return warning(text, "the gateway sends it calls as long as it is connected")
    text = f"{address.target}: {error.code().name}: {error.details()}"
    return failed(text, "check that the server runs there, the network, and the certificates of both sides")
