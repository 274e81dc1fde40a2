"""Channel options that detect a server that vanishes without closing its connection, as in a power cut.

gRPC has two ways. TCP closes a connection on which sent data is not acknowledged; this costs nothing and is always on.
Pings also detect a dead connection on which no data is sent, or behind which a proxy acknowledges data that it cannot
deliver. But a server with gRPC's defaults closes a connection (``ENHANCE_YOUR_CALM``) with more than two pings within
five minutes in which the server sends no data. So only servers with a health watch are pinged: the watch is started
again as often as pings are sent, and the server's reply to it resets that count.
"""

from __future__ import annotations

from collections.abc import Sequence

_NEVER_MS = 2**31 - 2
"""The longest time between pings; one more would turn off the TCP timeout too."""


def channel_options(seconds: float, *, pings: bool) -> Sequence[tuple[str, int]]:
    """Return the options of a channel that close the connection after ``seconds`` without data plus half as many.

    Args:
        seconds: idle seconds before a ping; 0 disables the detection.
        pings: whether to ping; otherwise only sent data is checked for its acknowledgement.
    """
    if not seconds:
        return ()
    milliseconds = max(round(seconds * 1000), 2)
    return (
        ("grpc.keepalive_time_ms", milliseconds if pings else _NEVER_MS),
        # Maximum time for the TCP acknowledgement.
        ("grpc.keepalive_timeout_ms", milliseconds // 2),
        # Maximum time for the reply to a ping. Despite its name, the option above does not set it.
        ("grpc.http2.ping_timeout_ms", milliseconds // 2),
    )
