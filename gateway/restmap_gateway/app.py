"""Composition root of the gateway: wires all parts together, then starts, drains and stops them."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from programkit.admin_http.readyz import Check, Condition, Readyz
from programkit.admin_port import open_admin_port
from programkit.logs import complaints_of
from programkit.process.garbage import collect_rarely
from programkit.process.lifetime import Lifetime
from programkit.process.reloads import Reload, in_place
from programkit.rate_limited_log import RateLimitedLog
from programkit.tracing.setup import begin_tracing
from programkit.tracing.spans import Tracer
from programkit.version import version_of
from restmap.v1 import restmap_pb2
from restmap_gateway.config import Settings
from restmap_gateway.crossing.outward import ResponseHeaders
from restmap_gateway.errors import shortened
from restmap_gateway.http.connection import Patience
from restmap_gateway.http.connections import ConnectionLimits, Connections, most_connections
from restmap_gateway.http.cors import Cors
from restmap_gateway.http.listen_tls import ListenTls
from restmap_gateway.http.readiness import PATH, Readiness
from restmap_gateway.http.response import StreamedResponse
from restmap_gateway.http.server import HttpLimits, HttpServer
from restmap_gateway.http.tls_listener import TlsListener
from restmap_gateway.http.unwritten import Unwritten
from restmap_gateway.json_map.fields import field_mapping
from restmap_gateway.json_map.reader import UnknownMember
from restmap_gateway.metrics.gateway import GatewayMetrics
from restmap_gateway.openapi.pages.descriptions import Descriptions, describe_all
from restmap_gateway.schema.conventions import TRACE_HEADERS
from restmap_gateway.schema.crossing import why_never_out
from restmap_gateway.schema.schema import Problem, Schema, SchemaError, load
from restmap_gateway.transcode.endpoint import compile_routes
from restmap_gateway.transcode.failures import Failures
from restmap_gateway.transcode.forwarded import Forwarded
from restmap_gateway.transcode.http_response import Stamp
from restmap_gateway.transcode.metadata import RequestIds, RequestMetadata, allowed_headers
from restmap_gateway.transcode.pages import MakePage
from restmap_gateway.transcode.rest import BodyLimits, Rest
from restmap_gateway.transcode.stream import StreamingCalls
from restmap_gateway.transcode.unary import UnaryCalls
from restmap_gateway.upstream.availability import condition, why_none_reached
from restmap_gateway.upstream.balancer import Balancer
from restmap_gateway.upstream.counts import UpstreamCounts
from restmap_gateway.upstream.keepalive import channel_options
from restmap_gateway.upstream.resolver import LookUp, Resolver, look_up
from restmap_gateway.upstream.server_address import ServerAddress
from restmap_gateway.upstream.tls import UpstreamTls
from restmap_gateway.upstream.upstream import Backend, ConnectionSettings
from restmap_gateway.upstream.watched import WatchedUpstream


class CannotListen(Exception):
    """The listen address is in use or not local; the message names the address."""


async def serve(settings: Settings, lifetime: Lifetime, look_up: LookUp = look_up) -> None:
    """Serve until ``lifetime`` reports a stop, then finish the requests in progress.

    Args:
        settings: settings of the gateway.
        lifetime: lifetime of the process.
        look_up: resolves a name to addresses.

    Raises:
        SchemaError, CannotListen, CannotServeAdmin, CannotTrace, CannotUseTls: the gateway cannot start.
    """
    asyncio.get_running_loop().set_exception_handler(complaints_of("gateway"))
    async with AsyncExitStack() as cleanups:
        readyz, registry = Readyz(), CollectorRegistry()
        await open_admin_port(settings, readyz, registry, cleanups)
        schema = _schema(settings)
        _report(schema)
        tracer = begin_tracing(settings.program.name, version_of("restmap-gateway"), wanted=settings.traces)
        cleanups.push_async_callback(tracer.close)
        listen_tls, upstream_tls = _listen_tls(settings), _upstream_tls(settings)
        counts = UpstreamCounts()
        upstream = _upstream(settings, schema, upstream_tls, look_up, counts)
        metrics = None if settings.admin_listen is None else GatewayMetrics(registry, schema.http_methods)
        if metrics is not None:
            metrics.read_upstream(settings.upstream, upstream, counts)
        cleanups.push_async_callback(upstream.close)
        if upstream_tls is not None:
            _watch(upstream_tls, upstream.reconnect, cleanups)
            lifetime.reloads.add("upstream certificate", _reload(upstream_tls, upstream.reconnect))
        await upstream.start()
        readiness = Readiness(lambda: why_none_reached(upstream.servers))
        connections = _connections(settings)
        descriptions = _descriptions(settings, schema)
        pages = {PATH: readiness.page, **(descriptions.pages if descriptions is not None else {})}
        front = descriptions.front if descriptions is not None else None
        server = _http_server(settings, schema, upstream, readiness, connections, pages, front, metrics, tracer)
        del schema  # the files of a large set take more memory than all that is made of them
        runner = web.ServerRunner(server, shutdown_timeout=settings.drain_timeout)
        await runner.setup()
        cleanups.push_async_callback(runner.cleanup)
        if listen_tls is None:
            site = web.TCPSite(runner, *_host_and_port(settings.listen))
            await _listening(settings.listen, site.start())
        else:
            listener = TlsListener(connections, server, listen_tls.context, settings.header_timeout)
            await _listening(settings.listen, listener.start(*_host_and_port(settings.listen)))
            cleanups.callback(listener.close)
            _watch(listen_tls, lambda: None, cleanups)
            lifetime.reloads.add("certificate", _reload(listen_tls, lambda: None))
        collect_rarely()
        log = structlog.get_logger("gateway")
        readyz.serve({"upstream": _upstream_check(upstream)})
        log.info(
            "serving",
            version=version_of("restmap-gateway"),
            listen=settings.listen,
            tls=listen_tls is not None,
            upstream=settings.upstream,
        )
        lifetime.serves()
        if descriptions is not None:
            descriptions.start()
        await lifetime.stopping()
        log.info("draining")
        lifetime.drains()
        readiness.drain()
        readyz.drain()
        if readiness.is_watched or readyz.is_polled:
            await asyncio.sleep(settings.drain_notice)
    log.info("stopped")


def _schema(settings: Settings) -> Schema:
    try:
        strict = settings.strict_schema or settings.descriptor_set is None
        schema = load(_descriptor_set(settings), services=settings.service, strict=strict)
    except OSError as error:
        raise SchemaError([Problem(f"{settings.descriptor_set} cannot be read: {error.strerror}")]) from error
    if settings.proxy_identity and not schema.conventions.proxy_headers:
        text = "no file names the headers of an authenticating proxy (proxy_headers), which --proxy-identity forwards"
        raise SchemaError([Problem(text)])
    problems: list[Problem] = []
    conventions = schema.conventions.allowing(settings.header_in, settings.header_out, problems)
    if problems:
        raise SchemaError(problems)
    if settings.error_details is not None:
        shown = restmap_pb2.ErrorDetails.Value(f"ERROR_DETAILS_{settings.error_details.upper()}")
        conventions = replace(conventions, error_details=shown)
    return replace(schema, conventions=conventions)


def _report(schema: Schema) -> None:
    log = structlog.get_logger("gateway")
    for one in schema.unserved:
        log.warning("not served", method=one.method, rule=one.rule or None, reason=one.reason)
    if schema.left_out:
        log.info("imported services not served", services=schema.left_out, advice="name them with --service")


def _descriptor_set(settings: Settings) -> bytes:
    if settings.descriptor_set is not None:
        return settings.descriptor_set.read_bytes()
    packaged = settings.program.descriptor_set
    if packaged is None:
        raise SchemaError([Problem("there is no descriptor set to serve")])
    return packaged()


def _upstream(
    settings: Settings, schema: Schema, tls: UpstreamTls | None, look_up: LookUp, counts: UpstreamCounts
) -> WatchedUpstream | Balancer:
    resolver = Resolver(settings.upstream, look_up)
    is_one = len(settings.upstream) == 1 and not resolver.asks_dns
    options = channel_options(settings.keepalive, pings=not is_one)
    reads_all = bool(schema.conventions.headers_of_success)
    connection = ConnectionSettings(
        settings.commit_margin, settings.multiplex, tls, options, initial_metadata=reads_all, counts=counts
    )
    if is_one:
        return WatchedUpstream(ServerAddress(settings.upstream[0]), connection, settings.keepalive)
    return Balancer(resolver, connection, settings.resolve_every, settings.keepalive)


def _upstream_check(upstream: WatchedUpstream | Balancer) -> Check:
    async def check() -> Condition:
        return condition(upstream.servers)

    return check


def _http_server(
    settings: Settings,
    schema: Schema,
    upstream: Backend,
    readiness: Readiness,
    connections: Connections,
    pages: Mapping[str, MakePage],
    front: MakePage | None,
    metrics: GatewayMetrics | None,
    tracer: Tracer,
) -> HttpServer:
    failures, cors, request_ids = Failures(schema), _cors(settings, schema), RequestIds(schema.conventions.request_id)
    stamp = _stamp(request_ids.header, settings.program.name, cors, readiness)
    unwritten, forwarded = Unwritten(settings.max_buffered), _forwarded(settings)
    of_success = _of_success(schema)
    streams = StreamingCalls(
        upstream, failures, settings.heartbeat, stamp, unwritten, settings.max_streams, StreamedResponse, of_success
    )
    rest = Rest(
        compile_routes(schema, settings.max_depth, settings.max_values, _log_unknown() if settings.lenient else None),
        UnaryCalls(upstream, failures, request_ids, forwarded, settings.timeout, of_success),
        streams,
        BodyLimits(settings.max_body, settings.body_timeout),
        pages,
        RequestMetadata(schema.conventions, request_ids, forwarded, proxy_identity=settings.proxy_identity),
        front,
    )
    server = HttpServer(
        rest.answer,
        failures,
        request_ids,
        cors,
        HttpLimits(
            settings.max_header,
            Patience(settings.header_timeout, settings.idle_timeout),
            settings.max_in_flight,
            settings.slow_call,
        ),
        connections,
        unwritten,
        stamp,
        on_drain=streams.drain,
        methods=schema.http_methods,
        observer=metrics,
        tracer=tracer,
    )
    if metrics is not None:
        metrics.read_requests(server, connections, streams)
    return server


def _of_success(schema: Schema) -> ResponseHeaders | None:
    """Return what makes headers from metadata of successful calls; None if nothing does."""
    mappings = schema.conventions.headers_of_success
    return ResponseHeaders(mappings, schema.conventions.request_id.header) if mappings else None


def _stamp(id_header: str, program: str, cors: Cors, readiness: Readiness) -> Stamp:
    def stamp(request: web.BaseRequest | None, request_id: str) -> Mapping[str, str]:
        readable = {} if request is None else cors.headers(request)
        # Otherwise a client with an open connection would send its next request after the gateway has stopped
        # accepting.
        going = {"Connection": "close"} if readiness.is_draining else {}
        return {id_header: request_id, "Server": program, **readable, **going}

    return stamp


def _connections(settings: Settings) -> Connections:
    most = most_connections(settings.max_connections)
    return Connections(ConnectionLimits(most, settings.max_connections_per_client, settings.max_buffered))


def _forwarded(settings: Settings) -> Forwarded:
    networks = [ipaddress.ip_network(network) for network in settings.trusted_proxy]
    return Forwarded(settings.public_url, networks, settings.listen)


def _upstream_tls(settings: Settings) -> UpstreamTls | None:
    if settings.upstream_ca is None:
        return None
    return UpstreamTls(
        settings.upstream_ca, settings.upstream_certificate, settings.upstream_key, settings.upstream_name
    )


def _listen_tls(settings: Settings) -> ListenTls | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ListenTls(settings.tls_certificate, settings.tls_key)


def _watch(tls: ListenTls | UpstreamTls, changed: Callable[[], None], cleanups: AsyncExitStack) -> None:
    watching = asyncio.create_task(tls.watched.watch(changed))
    cleanups.callback(watching.cancel)


def _reload(tls: ListenTls | UpstreamTls, changed: Callable[[], None]) -> Reload:
    def reload() -> str:
        if tls.watched.reload():
            changed()
        return ", ".join(str(path) for path in tls.watched.files)

    return in_place(reload)


def _cors(settings: Settings, schema: Schema) -> Cors:
    bound = {field_mapping(field).header for method in schema.methods for field in method.request.fields}
    conventions = schema.conventions
    id_header, allowed = conventions.request_id.header, allowed_headers(conventions)
    crossing = {mapping.header for mapping in conventions.request_headers if not mapping.is_prefix}
    readable = {*crossing, *TRACE_HEADERS, id_header, "Content-Type", *bound} - {""}
    outward = [one.header for one in conventions.response_headers if not one.is_prefix]
    exposed = [id_header, *(header for header in outward if not why_never_out(header, is_named=True))]
    crosses = None if allowed is None else allowed.crosses
    return Cors(settings.cors_origin, schema.http_methods, readable, exposed, crosses)


def _descriptions(settings: Settings, schema: Schema) -> Descriptions | None:
    if not settings.docs:
        return None
    return Descriptions(partial(describe_all, schema, settings.api_version, settings.public_url, PATH))


def _log_unknown() -> UnknownMember:
    log = RateLimitedLog("gateway", burst=100, per_second=1.0)

    def tell(message: str, member: str) -> None:
        log.warning("ignored", message=message, member=shortened(member))

    return tell


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


async def _listening(address: str, starting: Awaitable[None]) -> None:
    try:
        await starting
    except OSError as error:
        why = error.strerror or "the host is unknown"
        raise CannotListen(f"{address}: cannot listen there: {why}; choose another address") from error
