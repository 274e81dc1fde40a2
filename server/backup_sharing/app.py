"""Wiring of the server's parts; starts, drains and stops the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import grpc
import structlog
import uuid_utils

from backup_sharing.config import Settings
from backup_sharing.identity.configured import names, providers
from backup_sharing.identity.interface import GatewayPeers, IdentityProvider
from backup_sharing.listening import CannotListen, check_free
from backup_sharing.rpc import access_service, catalog_service, health, reflection, sharing_service, unary
from backup_sharing.rpc.admission.limits import Limits
from backup_sharing.rpc.admission.turns import Turns, turns_for
from backup_sharing.rpc.health import Health
from backup_sharing.rpc.multiplexing import admission
from backup_sharing.rpc.options import server_options
from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from backup_sharing.rpc.tls import CertificateFiles
from backup_sharing.rpc.watching import streams
from backup_sharing.rpc.watching.rechecks import Rechecks
from backup_sharing.rpc.watching.slots import WatchSlots
from backup_sharing.rpc.watching.streams import Streams
from backup_sharing.rpc.watching.watch_service import WatchEncoding, WatchService
from backup_sharing.rules.commands import OnConflict
from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.engine import system_clock
from backup_sharing.store.interface import Store
from backup_sharing.store.opening import Tuning, file_of, open_store
from backup_sharing.timers import later
from backup_sharing.usecases import policy
from backup_sharing.usecases.access import Accesses
from backup_sharing.usecases.catalog import Catalog
from backup_sharing.usecases.history import History
from backup_sharing.usecases.sharing import SharingLimits, Sharings
from backup_sharing.usecases.sweeper import Sweeper
from backup_sharing.usecases.watching.feed import Feed
from backup_sharing.usecases.watching.watches import Watches
from programkit.garbage import collect_rarely
from programkit.lifetime import Lifetime
from programkit.tracing.setup import begin_tracing
from programkit.tracing.spans import Tracer
from programkit.version import version_of
from restmap.multiplexing.multiplexer import MAX_IN_FLIGHT, Multiplexer
from restmap.multiplexing.multiplexer import SERVICE as MULTIPLEX
from restmap.multiplexing.peer import peer_of, unnamed_peer_of
from restmap.multiplexing.traffic import Traffic

SERVICES = (sharing_service.SERVICE, catalog_service.SERVICE, access_service.SERVICE)

_BESIDES_CALLS = 512
"""Calls that gRPC accepts beyond ``max_concurrent_calls`` and ``max_watches``: other streams, and requests still being
received."""

_DAY: Final = 24 * 3600 * 1_000_000
"""Microseconds of a day."""

_LAST_ANSWERS: Final = 1.0
"""Seconds for calls in progress to finish after the store has failed."""


def new_sharing_id() -> str:
    """Return a new UUID of version 7; later ids sort after earlier ones, so neighbours are stored together."""
    return str(uuid_utils.uuid7())


def new_request_id() -> str:
    """Return a new request id."""
    return f"req-{uuid_utils.uuid4()}"


def methods(store: Store, settings: Settings) -> Sequence[ServedMethod]:
    """Return all methods that the server serves."""
    limits = SharingLimits(
        max_recipients=settings.max_recipients,
        max_active=settings.max_active_sharings,
        on_conflict=OnConflict(settings.on_conflict),
        key_lifetime=round(settings.idempotency_key_lifetime * 1_000_000),
        max_lifetime=round(settings.max_sharing_lifetime * _DAY),
    )
    sharings = sharing_service.SharingService(Sharings(store, limits, system_clock, new_sharing_id))
    catalog = catalog_service.CatalogService(Catalog(store, system_clock))
    access = access_service.AccessService(Accesses(store), History(store))
    return [*sharings.methods(), *catalog.methods(), *access.methods()]


class StoreFailed(Exception):
    """The content of the store is uncertain, and only a new process can recover the store.

    This process must keep the store open until the process ends.
    """

    def __init__(self, store: Store) -> None:
        super().__init__("the store failed")
        self.store = store


async def serve(settings: Settings, lifetime: Lifetime) -> None:
    """Serve until ``lifetime`` requests a stop, then finish the calls in progress.

    Raises:
        BadTokenFile, CannotIdentify, CannotUseTls, UnusableDatabase, CannotListen, CannotTrace: the server
            cannot start.
        StoreFailed: the process must end without any clean-up.
    """
    log = structlog.get_logger("server")
    async with AsyncExitStack() as cleanups:
        tracer = begin_tracing("backup-sharing-server", version_of("backup-sharing"), wanted=settings.traces)
        cleanups.push_async_callback(tracer.close)
        identity = providers(settings, cleanups)
        tls = _tls(settings)
        store = await _store(settings)
        cleanups.push_async_callback(store.close)
        served, gateways, traffic = methods(store, settings), GatewayPeers(settings.gateway_peer), Traffic()
        pipeline = _pipeline(settings, served, identity, gateways, tracer)
        serving = Health(store, SERVICES)
        multiplexer = _multiplexer(settings, pipeline, gateways, traffic)
        peers = peer_of if settings.client_ca else unnamed_peer_of
        unaries = unary.handlers(pipeline, served, traffic, peers)
        watching = Streams(pipeline.reception, *_watch_limits(settings, identity))
        watches = streams.handlers(watching, _watches(settings, store, pipeline).methods(), traffic, peers)
        calls = (*unaries, *watches, multiplexer.handler(), health.handler(serving, traffic))
        server = _server(settings, calls, traffic, tls)
        await server.start()
        cleanups.push_async_callback(_ended, asyncio.create_task(Sweeper(store, settings.sweep_interval).run()))
        cleanups.push_async_callback(multiplexer.closed)
        cleanups.push_async_callback(watching.closed)
        cleanups.push_async_callback(_stop, server, settings, store)
        collect_rarely()
        cleanups.push_async_callback(_ended, asyncio.create_task(_announce(settings, store)))
        await _first(lifetime.stopping(), store.failed.wait())
        log.info("draining")
        is_watched = serving.is_watched and not store.failed.is_set()
        serving.drain()
        multiplexer.drain()
        watching.drain()
        if is_watched:
            # gRPC drops calls that arrive while it stops. Watchers may send calls until they see the new status.
            await _first(asyncio.sleep(settings.drain_notice), store.failed.wait())
    if store.failed.is_set():
        log.error("stopped", problem="the disk of the database failed")
        raise StoreFailed(store)
    log.info("stopped")


async def _announce(settings: Settings, store: BatchedStore) -> None:
    """Log what this server is, once it serves calls; before that, that it does not serve any yet."""
    log = structlog.get_logger("server")
    started: dict[str, object] = {
        "version": version_of("backup-sharing"),
        "grpc_listen": settings.grpc_listen,
        "tls": settings.tls_certificate is not None,
        "identity": names(settings),
    }
    if not store.ready.is_set():
        log.warning("not serving", **started, problem="the database is not ready")
        await store.ready.wait()
    engine, version = store.engine
    log.info("serving", **started, database=engine, database_version=version)


async def _stop(server: grpc.aio.Server, settings: Settings, store: Store) -> None:
    """Finish the calls in progress. A failed store answers them at once or never, so it gets `_LAST_ANSWERS`."""
    limit = min(settings.drain_timeout, _LAST_ANSWERS) if store.failed.is_set() else settings.drain_timeout
    await server.stop(limit)


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a background task, and wait for its end."""
    task.cancel()
    await asyncio.wait((task,))


async def _first(*events: Coroutine[Any, Any, object]) -> None:
    """Wait until one of the events is done."""
    waiting = [asyncio.ensure_future(event) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _store(settings: Settings) -> BatchedStore:
    tuning = Tuning(
        max_waiting=settings.max_waiting_changes,
        patience=settings.busy_timeout,
        commit_delay=settings.commit_delay,
        read_threads=settings.read_threads,
        read_connections=settings.read_connections,
        write_connections=settings.write_connections,
        prepared_statements=settings.prepared_statements,
    )
    return await open_store(settings.database, tuning, every=settings.migrate)


def _pipeline(
    settings: Settings,
    served: Sequence[ServedMethod],
    identity: IdentityProvider,
    gateways: GatewayPeers,
    tracer: Tracer,
) -> Pipeline:
    return Pipeline(
        served,
        identity,
        settings.commit_margin,
        new_request_id,
        _limits(settings),
        gateways,
        _turns(settings),
        settings.max_call_seconds,
        tracer,
        settings.slow_call,
    )


def _watches(settings: Settings, store: BatchedStore, pipeline: Pipeline) -> WatchService:
    feed = Feed(store, pipeline.turns.reads.turn)
    store.hint_to(feed.hint)
    return WatchService(Watches(feed, WatchEncoding(), settings.watch_checkpoint))


def _watch_limits(settings: Settings, identity: IdentityProvider) -> tuple[WatchSlots, Rechecks]:
    slots = WatchSlots(settings.max_watches, settings.max_project_watches)
    return slots, Rechecks(identity, later, time.monotonic, max_seconds=settings.max_watch_seconds)


def _multiplexer(settings: Settings, pipeline: Pipeline, gateways: GatewayPeers, traffic: Traffic) -> Multiplexer:
    admitted = admission(gateways, settings.max_peer_streams, only_gateways=bool(settings.gateway_peer))
    return Multiplexer(pipeline, min(settings.max_concurrent_calls, MAX_IN_FLIGHT), traffic, admitted)


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
    # The pipeline refuses excess calls with a proper error; gRPC's own limit is only a fallback.
    most = settings.max_concurrent_calls + settings.max_watches + _BESIDES_CALLS
    server = grpc.aio.server(maximum_concurrent_rpcs=most, options=server_options(settings.max_connections))
    names = (*SERVICES, health.NAME, reflection.NAME)
    server.add_generic_rpc_handlers((*calls, reflection.handler(names, traffic)))
    policy.check_served((*names, MULTIPLEX))
    check_free(settings.grpc_listen)  # its error message is clearer than gRPC's
    try:
        if tls is None:
            server.add_insecure_port(settings.grpc_listen)
        else:
            server.add_secure_port(settings.grpc_listen, tls.credentials())
    except RuntimeError as error:
        raise CannotListen(f"{settings.grpc_listen}: cannot listen there; is it in use?") from error
    return server
