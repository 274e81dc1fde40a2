"""The one place that wires the parts of the server together; starts, drains and stops it."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import grpc
import structlog
import uuid_utils

from backup_sharing.config import Settings
from backup_sharing.identity.configured import providers
from backup_sharing.identity.interface import Links
from backup_sharing.listening import CannotListen, check_free
from backup_sharing.model import Micros
from backup_sharing.rpc import catalog_service, health, reflection, sharing_service, unary
from backup_sharing.rpc.admission.limits import Limits
from backup_sharing.rpc.admission.turns import Turns, turns_for
from backup_sharing.rpc.health import Health
from backup_sharing.rpc.multiplexing import admission
from backup_sharing.rpc.options import server_options
from backup_sharing.rpc.pipeline import Method, Pipeline
from backup_sharing.rpc.tls import CertificateFiles
from backup_sharing.rules.commands import OnConflict
from backup_sharing.store.interface import Store
from backup_sharing.store.opening import Tuning, file_of, open_store
from backup_sharing.usecases import policy
from backup_sharing.usecases.catalog import Catalog
from backup_sharing.usecases.sharing import SharingLimits, Sharings
from programkit.lifetime import Lifetime
from restmap.multiplexing.multiplexer import MAX_IN_FLIGHT, Multiplexer
from restmap.multiplexing.multiplexer import SERVICE as MULTIPLEX
from restmap.multiplexing.peer import peer_of, unnamed_peer_of
from restmap.multiplexing.traffic import Traffic

SERVICES = (sharing_service.SERVICE, catalog_service.SERVICE)

_BESIDES_CALLS = 512
"""Calls that gRPC takes beside those in progress: streams, watches, and requests that have not arrived."""

_GARBAGE: Final = (10_000, 10, 5)
"""Thresholds of the garbage collector: a look for every 10 000 new objects, not for every 700. Each look goes through
the calls in progress, which are no garbage; references free nearly everything else."""

_LAST_ANSWERS: Final = 1.0
"""Seconds that calls in progress get when the store has failed."""


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


class StoreFailed(Exception):
    """Only a fresh process can find out what the store holds; until this one ends, it must keep the store."""

    def __init__(self, store: Store) -> None:
        super().__init__("the store failed")
        self.store = store


async def serve(settings: Settings, lifetime: Lifetime) -> None:
    """Serve until ``lifetime`` says to stop, then finish the calls in progress.

    Raises:
        BadTokenFile, CannotIdentify, CannotUseTls, UnusableDatabase, CannotListen: the server cannot start.
        StoreFailed: the process has to end, without any clean-up.
    """
    log = structlog.get_logger("server")
    async with AsyncExitStack() as cleanups:
        identity = providers(settings, cleanups)
        tls = _tls(settings)
        store = await _store(settings)
        cleanups.push_async_callback(store.close)
        served = methods(store, settings)
        gateways = Links(settings.gateway_peer)
        pipeline = Pipeline(
            served,
            identity,
            settings.commit_margin,
            new_request_id,
            _limits(settings),
            gateways,
            _turns(settings),
            settings.max_call_seconds,
        )
        traffic = Traffic()
        standing = Health(store, SERVICES)
        admitted = admission(gateways, settings.max_peer_streams, only_gateways=bool(settings.gateway_peer))
        in_flight = min(settings.max_concurrent_calls, MAX_IN_FLIGHT)
        multiplexer = Multiplexer(pipeline, in_flight, traffic, admitted)
        peers = peer_of if settings.client_ca else unnamed_peer_of
        unaries = unary.handlers(pipeline, served, traffic, peers)
        calls = (*unaries, multiplexer.handler(), health.handler(standing, traffic))
        server = _server(settings, calls, traffic, tls)
        await server.start()
        cleanups.push_async_callback(multiplexer.closed)
        cleanups.push_async_callback(_stop, server, settings, store)
        # What stands now stands till the end: to look through all of it again and again stops calls for up to 30 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE)
        log.info("serving", grpc_listen=settings.grpc_listen)
        await _first(lifetime.stopping(), store.failed.wait())
        log.info("draining")
        is_watched = standing.is_watched and not store.failed.is_set()
        standing.drain()
        multiplexer.drain()
        if is_watched:
            # gRPC drops calls that arrive while it stops; until those who watch have heard of it, they may come.
            await _first(asyncio.sleep(settings.drain_notice), store.failed.wait())
    if store.failed.is_set():
        raise StoreFailed(store)


async def _stop(server: grpc.aio.Server, settings: Settings, store: Store) -> None:
    """Finish the calls in progress. A store that failed answers all of them at once, or never."""
    limit = min(settings.drain_timeout, _LAST_ANSWERS) if store.failed.is_set() else settings.drain_timeout
    await server.stop(limit)


async def _first(*events: Coroutine[Any, Any, object]) -> None:
    """Wait until one of these is done."""
    waiting = [asyncio.ensure_future(event) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _store(settings: Settings) -> Store:
    tuning = Tuning(
        max_waiting=settings.max_waiting_changes,
        patience=settings.busy_timeout,
        commit_delay=settings.commit_delay,
        read_threads=settings.read_threads,
        read_connections=settings.read_connections,
        write_connections=settings.write_connections,
    )
    return await open_store(settings.database, tuning, every=settings.migrate)


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
    traffic: Traffic,
    tls: CertificateFiles | None,
) -> grpc.aio.Server:
    # The pipeline refuses what is too much, and says so properly; gRPC's own limit stands behind it.
    most = settings.max_concurrent_calls + _BESIDES_CALLS
    server = grpc.aio.server(maximum_concurrent_rpcs=most, options=server_options(settings.max_connections))
    names = (*SERVICES, health.NAME, reflection.NAME)
    server.add_generic_rpc_handlers((*calls, reflection.handler(names, traffic)))
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
