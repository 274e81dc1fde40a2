"""All metric families of the gateway; its documentation is made from them.

Requests have the names of OpenTelemetry's semantic conventions, as Prometheus spells them. No label has a value that a
client can make up: routes come from the schema, HTTP methods from the rules and the standard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from programkit.metrics import OF_PROCESS, Family

BUILD: Final = Family("restmap_gateway_build_info", "gauge", ("version",), "1, with the version of the gateway.")

REQUESTS: Final = Family(
    "http_server_request_duration_seconds",
    "histogram",
    ("http_request_method", "http_route", "http_response_status_code"),
    "Duration of requests, from the complete headers to the response; its count is the number of requests. The route"
    " is the path template of the rule, the path of a page, or `unmatched`; other methods than the known ones are"
    " `_OTHER`; 499: the client is gone. Event streams count when they end.",
)
ACTIVE: Final = Family(
    "http_server_active_requests", "gauge", (), "Complete requests in progress, including open event streams."
)
STREAMS: Final = Family("restmap_gateway_streams_open", "gauge", (), "Open event streams.")
CONNECTIONS: Final = Family(
    "restmap_gateway_connections",
    "gauge",
    ("state",),
    "Open connections of clients: `active` with a complete request, `idle` without.",
)
CONNECTIONS_REFUSED: Final = Family(
    "restmap_gateway_connections_refused_total", "counter", (), "Connections of clients refused at a limit."
)
CONNECTIONS_CLOSED: Final = Family(
    "restmap_gateway_connections_closed_total", "counter", (), "Idle connections of clients closed at a limit."
)
REJECTED: Final = Family(
    "restmap_gateway_rejected_total",
    "counter",
    ("reason",),
    "Requests that the gateway itself turned away: `in_flight`, `streams` and `unread_responses` are limits,"
    " `malformed` is no valid HTTP, `timeout` did not arrive in time.",
)

UPSTREAM: Final = Family(
    "restmap_gateway_upstream_servers",
    "gauge",
    ("server", "state"),
    "Servers of each configured address, by state: `serving`, `not_serving`, `unreachable`, `unknown`. An address that"
    " DNS resolves can have several servers, or none.",
)
FRAMES_CALLS: Final = Family(
    "restmap_gateway_multiplex_frame_calls", "histogram", (), "Calls per frame sent; its count is the number of frames."
)
FRAMES_RECEIVED: Final = Family(
    "restmap_gateway_multiplex_frames_received_total", "counter", (), "Frames received from servers."
)
MULTIPLEX_STREAMS: Final = Family(
    "restmap_gateway_multiplex_streams_open", "gauge", (), "Open multiplexed streams to servers."
)
MULTIPLEX_OPENED: Final = Family(
    "restmap_gateway_multiplex_streams_opened_total", "counter", (), "Multiplexed streams that servers have accepted."
)
CALLS: Final = Family(
    "restmap_gateway_upstream_calls_total",
    "counter",
    ("way",),
    "Unary calls sent to servers, including retries: in a frame of a stream (`multiplexed`), or each by itself"
    " (`single`).",
)
RETRIES: Final = Family(
    "restmap_gateway_upstream_retries_total", "counter", (), "Unary calls sent again after a failed attempt."
)

FAMILIES: Final[Sequence[Family]] = (
    *(BUILD, REQUESTS, ACTIVE, STREAMS, CONNECTIONS, CONNECTIONS_REFUSED, CONNECTIONS_CLOSED, REJECTED),
    *(UPSTREAM, FRAMES_CALLS, FRAMES_RECEIVED, MULTIPLEX_STREAMS, MULTIPLEX_OPENED, CALLS, RETRIES),
    *OF_PROCESS,
)
"""Every family, in the order of the documentation."""
