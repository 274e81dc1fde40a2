"""The one place that wires the parts of the server together; starts, drains and stops it."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import grpc
import structlog
import uuid_utils
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from server import policy
from server.catalog import Catalog
from server.config import Settings
from server.identities import providers
from server.identity.interface import Links
from server.lifetime import Lifetime
from server.listening import CannotListen, check_free
from server.model import Micros
from server.rpc import catalog_service, sharing_service, unary
from server.rpc.health import Health
from server.rpc.limits import Limits
from server.rpc.multiplex import SERVICE as MULTIPLEX
from server.rpc.multiplex import Multiplexer
from server.rpc.pipeline import Method, Pipeline
from server.rpc.tls import CertificateFiles
from server.rpc.turns import Turns, turns_for
from server.sharing import SharingLimits, Sharings
from server.store.interface import OnConflict, Store
from server.store.opening import Tuning, file_of, migrate, open_store

SERVICES = (sharing_service.SERVICE, catalog_service.SERVICE)

_SERVER_OPTIONS = (
    # Otherwise two servers would share one port and each get half of the calls.
    ("grpc.so_reuseport", 0),
    # Otherwise gRPC refuses a long token as overload, by chance beyond 8 KiB and always beyond 16 KiB.
    ("grpc.max_metadata_size", 128 * 1024),
    ("grpc.absolute_max_metadata_size", 128 * 1024),
    # Otherwise gRPC hangs up on gateways that ask every few seconds whether this server is still there.
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.keepalive_permit_without_calls", 1),
)


def now() -> Micros:
    """The time by the machine's clock."""
    return time.time_ns() // 1000


def new_sharing_id() -> str:
    """A fresh UUID of version 7: ids made later sort behind, so that they are stored side by side."""
    return str(uuid_utils.uuid7())


def new_request_id() -> str:
    """A fresh request id."""
    return f"req-{uuid_utils.uuid4()}"


def methods(store: Store, settings: Settings) -> Sequence[Method]:
    """Everything that can be called."""
    limits = SharingLimits(
        max_recipients=settings.max_recipients,
        max_active=settings.max_active_sharings,
        on_conflict=OnConflict(settings.on_conflict),
        key_lifetime=round(settings.idempotency_key_lifetime * 1_000_000),
    )
    sharings = sharing_service.SharingService(Sharings(store, limits, now, new_sharing_id))
    catalog = catalog_service.CatalogService(Catalog(store, now))
    return [*sharings.methods(), *catalog.methods()]


async def serve(settings: Settings, lifetime: Lifetime) -> None:
    """Serve until ``lifetime`` says to stop, then finish the calls in progress.

    Raises:
        BadTokenFile, CannotIdentify, CannotUseTls, UnusableDatabase, CannotListen: the server cannot start.
    """
    log = structlog.get_logger("server")
    async with AsyncExitStack() as cleanups:
        identity = providers(settings, cleanups)
        tls = _tls(settings)
        store = await _store(settings)
        cleanups.push_async_callback(store.close)
        served = methods(store, settings)
        pipeline = Pipeline(
            served,
            identity,
            settings.commit_margin,
            new_request_id,
            _limits(settings),
            Links(settings.gateway_peer),
            _turns(settings),
            settings.max_call_seconds,
        )
        health = Health(store, SERVICES)
        multiplexer = Multiplexer(pipeline, settings.max_concurrent_calls)
        server = _server(settings, unary.handlers(pipeline, served), multiplexer, health, tls)
        await server.start()
        cleanups.push_async_callback(multiplexer.closed)
        cleanups.push_async_callback(server.stop, settings.drain_timeout)
        # What stands now stands till the end: to look through all of it again and again stops calls for up to 30 ms.
        gc.collect()
        gc.freeze()
        log.info("serving", grpc_listen=settings.grpc_listen)
        await lifetime.stopping()
        log.info("draining")
        is_watched = health.is_watched
        health.drain()
        multiplexer.drain()
        if is_watched:
            # gRPC drops calls that arrive while it stops; until those who watch have heard of it, they may come.
            await asyncio.sleep(settings.drain_notice)


async def _store(settings: Settings) -> Store:
    if settings.migrate:
        await asyncio.to_thread(migrate, settings.database)
    tuning = Tuning(
        max_waiting=settings.max_waiting_changes,
        patience=settings.busy_timeout,
        commit_margin=settings.commit_margin,
        commit_delay=settings.commit_delay,
        read_threads=settings.read_threads,
        read_connections=settings.read_connections,
        write_connections=settings.write_connections,
    )
    return await open_store(settings.database, tuning)


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.max_concurrent_calls,
        settings.max_project_calls,
        settings.max_project_rate,
        settings.max_failed_identities,
    )


def _turns(settings: Settings) -> Turns:
    is_sqlite = file_of(settings.database) is not None
    reads = settings.read_threads if is_sqlite else settings.read_connections
    return turns_for(reads, settings.max_project_calls or settings.max_concurrent_calls)


def _tls(settings: Settings) -> CertificateFiles | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return CertificateFiles(settings.tls_certificate, settings.tls_key, settings.client_ca)


def _server(
    settings: Settings,
    calls: Sequence[grpc.GenericRpcHandler],
    multiplexer: Multiplexer,
    health: Health,
    tls: CertificateFiles | None,
) -> grpc.aio.Server:
    # The pipeline refuses what is too much, and says so properly; gRPC's own limit stands far behind it.
    server = grpc.aio.server(maximum_concurrent_rpcs=4 * settings.max_concurrent_calls, options=_SERVER_OPTIONS)
    server.add_generic_rpc_handlers((*calls, multiplexer.handler()))
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    names = (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    policy.check_served((*names, MULTIPLEX))
    check_free(settings.grpc_listen)  # says it better than gRPC does
    try:
        if tls is None:
            server.add_insecure_port(settings.grpc_listen)
        else:
            server.add_secure_port(settings.grpc_listen, tls.credentials())
    except RuntimeError as error:
        raise CannotListen(f"{settings.grpc_listen}: cannot listen there; is it in use?") from error
    return server
