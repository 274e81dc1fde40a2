"""Wiring of the server's parts; starts, drains and stops the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from math import ceil
from typing import Any, Final

import grpc
import structlog
import uuid_utils
from prometheus_client import CollectorRegistry

from backup_sharing import readyz
from backup_sharing.config import Settings
from backup_sharing.identity.configured import Identity, providers
from backup_sharing.identity.interface import GatewayPeers, IdentityProvider
from backup_sharing.identity.token_file.watching import TokenFile
from backup_sharing.listening import CannotListen, check_free
from backup_sharing.metrics.server import ServerMetrics
from backup_sharing.metrics.store import Engine
from backup_sharing.rpc import access_service, catalog_service, health, reflection, sharing_service, unary
from backup_sharing.rpc.admission.limits import Limits
from backup_sharing.rpc.admission.turns import Turns, turns_for
from backup_sharing.rpc.admission.unknown import UnknownMethods
from backup_sharing.rpc.health import Health
from backup_sharing.rpc.multiplexing import admission
from backup_sharing.rpc.options import server_options
from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from backup_sharing.rpc.standard.health_server import health_server
from backup_sharing.rpc.status import REASONS
from backup_sharing.rpc.tls import CertificateFiles
from backup_sharing.rpc.watching import streams
from backup_sharing.rpc.watching.rechecks import Rechecks
from backup_sharing.rpc.watching.slots import WatchSlots
from backup_sharing.rpc.watching.streams import Streams
from backup_sharing.rpc.watching.watch_service import WATCH, WatchEncoding, WatchService
from backup_sharing.rules.commands import OnConflict
from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.engine import system_clock
from backup_sharing.store.interface import Store
from backup_sharing.store.opening import Tuning, file_of, open_store
from backup_sharing.timers import later
from backup_sharing.usecases import policy
from backup_sharing.usecases.access import Accesses
from backup_sharing.usecases.catalog import Catalog
from backup_sharing.usecases.census import Census
from backup_sharing.usecases.history import History
from backup_sharing.usecases.purger import Purger
from backup_sharing.usecases.sharing import SharingLimits, Sharings
from backup_sharing.usecases.sweeper import Sweeper
from backup_sharing.usecases.watching.feed import Feed
from backup_sharing.usecases.watching.watches import Watches
from programkit.admin_http.readyz import Readyz
from programkit.admin_port import open_admin_port
from programkit.process.garbage import collect_rarely
from programkit.process.lifetime import Lifetime
from programkit.process.reloads import in_place
from programkit.process.scheduling import report_refused
from programkit.tracing.setup import begin_tracing
from programkit.tracing.spans import Tracer
from programkit.version import version_of
from restmap.multiplexing.multiplexer import MAX_IN_FLIGHT, Multiplexer
from restmap.multiplexing.multiplexer import SERVICE as MULTIPLEX
from restmap.multiplexing.peer import peer_of, unnamed_peer_of
from restmap.multiplexing.traffic import Traffic, resident_bytes

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
        BadTokenFile, CannotIdentify, CannotUseTls, UnusableDatabase, CannotListen, CannotServeAdmin, CannotTrace: the
            server cannot start.
        StoreFailed: the process must end without any clean-up.
    """
    log = structlog.get_logger("server")
    async with AsyncExitStack() as cleanups:
        readiness, registry = Readyz(), CollectorRegistry()
        await open_admin_port(settings, readiness, registry, cleanups)
        metrics = None if settings.admin_listen is None else _metrics(settings, registry)
        tracer = begin_tracing("backup-sharing-server", version_of("backup-sharing"), wanted=settings.traces)
        cleanups.push_async_callback(tracer.close)
        tokens = None if settings.tokens is None else TokenFile(settings.tokens, time.time)
        identity = providers(settings, tokens, cleanups, metrics)
        tls = _tls(settings)
        store = await _store(settings, metrics)
        cleanups.push_async_callback(store.close)
        served, gateways, traffic = methods(store, settings), GatewayPeers(settings.gateway_peer), _traffic()
        pipeline = _pipeline(settings, served, identity.provider, gateways, metrics, tracer)
        serving = Health(store, SERVICES)
        multiplexer = _multiplexer(settings, pipeline, gateways, traffic)
        peers = peer_of if settings.client_ca else unnamed_peer_of
        unaries = unary.handlers(pipeline, served, traffic, peers)
        slots, rechecks = _watch_limits(settings, identity.provider)
        watching = Streams(pipeline.reception, slots, rechecks)
        feed, census = _feed(store, pipeline, metrics), Census(store, pipeline.turns.reads.turn)
        watches = streams.handlers(watching, _watches(settings, feed).methods(), traffic, peers)
        calls = (*unaries, *watches, multiplexer.handler(), health.handler(serving, traffic))
        server = _server(settings, calls, traffic, tls, metrics)
        await _serve_health(settings, serving, cleanups)
        await server.start()
        if metrics is not None:
            metrics.read(pipeline, store, watching, feed, census)
            cleanups.push_async_callback(_ended, asyncio.create_task(census.run()))
        cleanups.push_async_callback(_ended, asyncio.create_task(_sweeper(settings, store).run()))
        if (purger := _purger(settings, store)) is not None:
            cleanups.push_async_callback(_ended, asyncio.create_task(purger.run()))
        if tokens is not None:
            tokens.start(rechecks.check_now)
            cleanups.push_async_callback(tokens.close)
        cleanups.push_async_callback(multiplexer.closed)
        cleanups.push_async_callback(watching.closed)
        cleanups.push_async_callback(_stop, server, settings, store)
        collect_rarely()
        readiness.serve(readyz.checks(serving, store, identity.states))
        _reload(lifetime, tls, tokens)
        cleanups.push_async_callback(_ended, asyncio.create_task(_announce(settings, store, identity)))
        lifetime.serves()
        await _first(lifetime.stopping(), store.failed.wait())
        log.info("draining")
        lifetime.drains()
        is_watched = (serving.is_watched or readiness.is_polled) and not store.failed.is_set()
        readiness.drain()
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


async def _announce(settings: Settings, store: BatchedStore, identity: Identity) -> None:
    """Log what this server is, once it serves calls; before that, that it does not serve any yet."""
    log = structlog.get_logger("server")
    started: dict[str, object] = {
        "version": version_of("backup-sharing"),
        "grpc_listen": settings.grpc_listen,
        "tls": settings.tls_certificate is not None,
        "identity": [state().name for state in identity.states],
    }
    if not store.ready.is_set():
        log.warning("not serving", **started, problem="the database is not ready")
        await store.ready.wait()
    engine, version = store.engine
    log.info("serving", **started, database=engine, database_version=version)


def _reload(lifetime: Lifetime, tls: CertificateFiles | None, tokens: TokenFile | None) -> None:
    if tls is not None:
        lifetime.reloads.add("certificate", in_place(tls.reload))
    if tokens is not None:
        lifetime.reloads.add("tokens", tokens.reload)


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


def _metrics(settings: Settings, registry: CollectorRegistry) -> ServerMetrics:
    engine: Engine = "postgresql" if file_of(settings.database) is None else "sqlite"
    types = {name: "server_stream" if name == WATCH else "unary" for name in policy.METHODS}
    return ServerMetrics(registry, engine, types, [code.name for code in grpc.StatusCode], REASONS)


async def _store(settings: Settings, metrics: ServerMetrics | None) -> BatchedStore:
    tuning = Tuning(
        max_waiting=settings.max_waiting_changes,
        patience=settings.busy_timeout,
        commit_delay=settings.commit_delay,
        read_threads=settings.read_threads,
        read_connections=settings.read_connections,
        write_connections=settings.write_connections,
        prepared_statements=settings.prepared_statements,
    )
    observer = None if metrics is None else metrics.store
    return await open_store(settings.database, tuning, every=settings.migrate, observer=observer)


def _purger(settings: Settings, store: Store) -> Purger | None:
    keep_events, keep_sharings = (ceil(days * _DAY) for days in (settings.keep_events, settings.keep_cancelled))
    return Purger(store, keep_events, keep_sharings) if keep_events or keep_sharings else None


def _traffic() -> Traffic:
    if not resident_bytes():
        effect = "the memory that an arriving message takes is not limited"
        report_refused("/proc/self/statm", "the memory of this process is not reported there", effect)
    return Traffic()


def _pipeline(
    settings: Settings,
    served: Sequence[ServedMethod],
    identity: IdentityProvider,
    gateways: GatewayPeers,
    metrics: ServerMetrics | None,
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
        None if metrics is None else metrics.calls,
        tracer,
        settings.slow_call,
    )


def _feed(store: BatchedStore, pipeline: Pipeline, metrics: ServerMetrics | None) -> Feed:
    feed = Feed(store, pipeline.turns.reads.turn, observe=None if metrics is None else metrics.event_read)
    store.hint_to(feed.hint)
    return feed


def _watches(settings: Settings, feed: Feed) -> WatchService:
    return WatchService(Watches(feed, WatchEncoding(), settings.watch_checkpoint))


def _sweeper(settings: Settings, store: BatchedStore) -> Sweeper:
    sweeper = Sweeper(store, settings.sweep_interval, system_clock)
    store.hint_ends_to(sweeper.ends)
    return sweeper


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
    metrics: ServerMetrics | None,
) -> grpc.aio.Server:
    # The pipeline refuses excess calls with a proper error; gRPC's own limit is only a fallback.
    most = settings.max_concurrent_calls + settings.max_watches + _BESIDES_CALLS
    server = grpc.aio.server(maximum_concurrent_rpcs=most, options=server_options(settings.max_connections))
    names = (*SERVICES, health.NAME, *reflection.NAMES)
    server.add_generic_rpc_handlers((*calls, *reflection.handlers(names, traffic)))
    if metrics is not None:
        server.add_generic_rpc_handlers((UnknownMethods(metrics.calls),))
    policy.check_served((*names, MULTIPLEX))
    _listen(server, settings.grpc_listen, tls)
    return server


async def _serve_health(settings: Settings, serving: Health, cleanups: AsyncExitStack) -> None:
    """Serve health alone on its own port, if that is set; it ends after the calls in progress have finished."""
    if settings.health_listen is None:
        return
    server = health_server(serving)
    _listen(server, settings.health_listen, None)
    await server.start()
    cleanups.push_async_callback(server.stop, None)


def _listen(server: grpc.aio.Server, address: str, tls: CertificateFiles | None) -> None:
    check_free(address)  # its error message is clearer than gRPC's
    try:
        if tls is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, tls.credentials())
    except RuntimeError as error:
        raise CannotListen(f"{address}: cannot listen there; is it in use?") from error
