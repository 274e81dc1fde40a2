"""The options of gRPC's server: what a connection may take before any call of it is looked at."""

from __future__ import annotations

from collections.abc import Sequence

from restmap.multiplexing.frames import MAX_METADATA_BYTES

MAX_REQUEST_BYTES = 1024 * 1024
"""Of a call made by itself. The largest that makes sense has 1000 recipients, or 64 KiB of metadata of a backup; a
gateway takes bodies of this size."""

_STREAMS_OF_CONNECTION = 100
"""Calls of one connection at a time; clients make further ones wait. HTTP/2 recommends no less."""

_HANDSHAKE_SECONDS = 10
"""For TLS, and for the client's first frame."""

_IDLE_SECONDS = 600
"""After which a connection without calls is closed; clients open another with their next call."""

_KEEPALIVE_SECONDS = 60
"""How long a client may be silent before it is asked whether it is there."""

_UNREAD_SECONDS = 20
"""For the answer to that, and for a client to take what was sent to it from its connection."""


def server_options(max_connections: int) -> Sequence[tuple[str, int]]:
    """The options of a server that takes so many connections; any further one is closed at once."""
    return (
        # Otherwise two servers would share one port and each get half of the calls.
        ("grpc.so_reuseport", 0),
        # A compressed message is inflated before its size is looked at: no algorithm but none.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_allowed_incoming_connections", max_connections),
        ("grpc.max_concurrent_streams", _STREAMS_OF_CONNECTION),
        # Otherwise also calls count that have ended, but whose objects Python has not freed yet: a client that keeps to
        # the limit had two of three calls refused. Resets are as cheap without it.
        ("grpc.http.overload_protection", 0),
        ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
        # Otherwise gRPC refuses a long token as overload, by chance beyond 8 KiB and always beyond 16 KiB.
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        # gRPC's own defence against pings keeps a note of each that came too early, 20 KB for a ping of 17 bytes,
        # while it waits for a client that does not read. Without it a client is not read whose pings are unanswered.
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.server_handshake_timeout_ms", 1000 * _HANDSHAKE_SECONDS),
        ("grpc.max_connection_idle_ms", 1000 * _IDLE_SECONDS),
        ("grpc.keepalive_time_ms", 1000 * _KEEPALIVE_SECONDS),
        ("grpc.keepalive_timeout_ms", 1000 * _UNREAD_SECONDS),
        ("grpc.keepalive_permit_without_calls", 1),
    )
