"""How a server is noticed that vanished without a word: power cut, or a network that swallows everything.

Two ways, both gRPC's own. TCP gives a connection up on which what was sent is not acknowledged; that costs nothing
and offends nobody, so it is always on. Pings find out also about a connection on which nothing is sent, or behind
which a proxy acknowledges what it cannot deliver. But a server with gRPC's defaults hangs up (``ENHANCE_YOUR_CALM``)
on whoever pings it more than twice within five minutes in which it has sent nothing itself. So pings go only to
servers whose health is watched: the watch is begun anew as often as they are sent, and the server's answer to that
starts its count again.
"""

from __future__ import annotations

from collections.abc import Sequence

_NEVER_MS = 2**31 - 2
"""The longest time between pings; one more would turn the time-out of TCP off as well."""


def channel_options(seconds: float, *, pings: bool) -> Sequence[tuple[str, int]]:
    """The options of a channel whose server is taken for gone when it was silent for ``seconds`` and half as long.

    Args:
        seconds: 0: never.
        pings: whether it is pinged; otherwise only what is sent is watched over.
    """
    if not seconds:
        return ()
    milliseconds = max(round(seconds * 1000), 2)
    return (
        ("grpc.keepalive_time_ms", milliseconds if pings else _NEVER_MS),
        # How long TCP waits for an acknowledgement.
        ("grpc.keepalive_timeout_ms", milliseconds // 2),
        # How long gRPC waits for the answer to a ping: the option above, which should say that, does not.
        ("grpc.http2.ping_timeout_ms", milliseconds // 2),
    )
