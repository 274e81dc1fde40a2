"""The options of gRPC's server: limits on connections, which apply before any call is handled."""

from __future__ import annotations

from collections.abc import Sequence

from restmap.multiplexing.frames import MAX_METADATA_BYTES

MAX_REQUEST_BYTES = 1024 * 1024
"""Maximum bytes of a unary request. The largest useful request has 1000 recipients, or a backup with 64 KiB of
metadata; a gateway accepts bodies of the same size."""

_STREAMS_OF_CONNECTION = 100
"""Maximum concurrent calls of one connection; clients queue further calls. HTTP/2 recommends at least 100."""

_HANDSHAKE_SECONDS = 10
"""Timeout in seconds for the TLS handshake and the client's first frame."""

_IDLE_SECONDS = 600
"""Seconds after which a connection without calls is closed; clients reconnect with their next call."""

_KEEPALIVE_SECONDS = 60
"""Idle seconds before the server sends a keepalive ping."""

_UNREAD_SECONDS = 20
"""Timeout in seconds for the reply to a ping, and for a client to read data from its connection."""


def server_options(max_connections: int, max_streams: int = _STREAMS_OF_CONNECTION) -> Sequence[tuple[str, int]]:
    """Return the options of a server with at most ``max_connections``; further connections are closed at once.

    ``max_streams``: maximum concurrent calls of one connection.
    """
    return (
        # Without this option two servers would share one port and each get half of the calls.
        ("grpc.so_reuseport", 0),
        # gRPC decompresses a message before it checks the size, so compression is disabled.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_allowed_incoming_connections", max_connections),
        ("grpc.max_concurrent_streams", max_streams),
        # Overload protection also counts ended calls whose objects Python has not freed yet: two of three calls of a
        # client within the limit were refused. Stream resets are as cheap without the protection.
        ("grpc.http.overload_protection", 0),
        ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
        # By default gRPC refuses a long token as overload: at random beyond 8 KiB, and always beyond 16 KiB.
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        # gRPC's ping strikes store 20 KB for each early ping of 17 bytes while a client does not read. With strikes
        # disabled, gRPC stops reading from a client whose pings are unanswered.
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.server_handshake_timeout_ms", 1000 * _HANDSHAKE_SECONDS),
        ("grpc.max_connection_idle_ms", 1000 * _IDLE_SECONDS),
        ("grpc.keepalive_time_ms", 1000 * _KEEPALIVE_SECONDS),
        ("grpc.keepalive_timeout_ms", 1000 * _UNREAD_SECONDS),
        ("grpc.keepalive_permit_without_calls", 1),
    )
