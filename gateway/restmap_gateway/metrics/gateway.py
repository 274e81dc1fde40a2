"""All metrics of one gateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from importlib import metadata
from typing import Final, Protocol

from prometheus_client import CollectorRegistry

from programkit.metrics import Readings, Tally, watch_process
from restmap_gateway.errors import Overload
from restmap_gateway.http.connections import Connections
from restmap_gateway.http.methods import COMMON
from restmap_gateway.http.server import HttpServer
from restmap_gateway.metrics import families
from restmap_gateway.transcode.stream import StreamingCalls
from restmap_gateway.upstream.counts import FRAME_CALLS, UpstreamCounts
from restmap_gateway.upstream.health import ServerState

UNMATCHED: Final = "unmatched"
"""Label of requests whose path is no route."""

OTHER: Final = "_OTHER"
"""Label of an HTTP method that is not known, as in the semantic conventions."""


class Servers(Protocol):
    """The servers behind a gateway."""

    @property
    def states(self) -> Sequence[tuple[str, ServerState]]:
        """The state of each server, with the configured target to which it belongs."""
        ...


class GatewayMetrics:
    """The instruments of a gateway; also a `restmap_gateway.http.server.RequestObserver`."""

    def __init__(self, registry: CollectorRegistry, methods: Collection[str]) -> None:
        """Register everything that is updated by requests; ``methods``: HTTP methods of the rules, ``*`` for any."""
        watch_process(registry)
        self._methods = (frozenset(methods) | COMMON) - {"*"}
        self._requests: dict[tuple[str, str, int], Tally] = {}
        """Durations by method, route and status."""
        rejected = families.REJECTED.counter(registry)
        self._turned_away = {overload: rejected.labels(overload.value) for overload in Overload}
        self._malformed, self._timeout = rejected.labels("malformed"), rejected.labels("timeout")
        self._readings = Readings(registry)
        self._readings.add_histogram(families.REQUESTS, self._durations)
        build: Mapping[Sequence[str], float] = {(metadata.version("restmap-gateway"),): 1.0}
        self._readings.add(families.BUILD, lambda: build)

    def handled(self, method: str, route: str, status: int, seconds: float) -> None:
        found = self._requests.get((method, route, status))
        if found is None:
            # Other methods share one value, or clients could fill the memory.
            key = method if method in self._methods else OTHER, route, status
            found = self._requests.setdefault(key, Tally())
        found.observe(seconds)

    def _durations(self) -> Mapping[Sequence[str], Tally]:
        found = list(self._requests.items())
        return {(method, route or UNMATCHED, str(status)): tally for (method, route, status), tally in found}

    def turned_away(self, overload: Overload) -> None:
        self._turned_away[overload].inc()

    def malformed(self, status: int) -> None:
        (self._timeout if status == HTTPStatus.REQUEST_TIMEOUT else self._malformed).inc()

    def read_requests(self, server: HttpServer, connections: Connections, streams: StreamingCalls) -> None:
        """Read the state of the HTTP server at each scrape."""
        add = self._readings.add
        add(families.ACTIVE, lambda: server.in_flight)
        add(families.STREAMS, lambda: streams.number)
        add(
            families.CONNECTIONS,
            lambda: {("active",): connections.number - connections.waiting, ("idle",): connections.waiting},
        )
        add(families.CONNECTIONS_REFUSED, lambda: connections.refused)
        add(families.CONNECTIONS_CLOSED, lambda: connections.closed_early)

    def read_upstream(self, configured: Sequence[str], upstream: Servers, counts: UpstreamCounts) -> None:
        """Read the state of the connections to servers at each scrape; ``configured``: the targets of the settings."""

        def servers() -> Mapping[Sequence[str], float]:
            found = Counter(upstream.states)
            return {(one, state.name.lower()): found[one, state] for one in configured for state in ServerState}

        add = self._readings.add
        add(families.UPSTREAM, servers)
        self._readings.add_histogram(families.FRAMES_CALLS, lambda: {(): _frames(counts)})
        add(families.FRAMES_RECEIVED, lambda: counts.frames_received)
        add(families.MULTIPLEX_STREAMS, lambda: counts.streams_opened - counts.streams_ended)
        add(families.MULTIPLEX_OPENED, lambda: counts.streams_opened)
        add(families.CALLS, lambda: {("multiplexed",): counts.calls, ("single",): counts.singles})
        add(families.RETRIES, lambda: counts.retries)


def _frames(counts: UpstreamCounts) -> Tally:
    tally = Tally(FRAME_CALLS)
    tally.counts, tally.sum = counts.by_calls, counts.calls
    return tally
