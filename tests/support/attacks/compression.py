"""Small messages that are large once decompressed."""

from __future__ import annotations

import zlib

from tests.support.attacks.wire import MIB, Attack, chunks, message

ALGORITHMS = ("gzip", "deflate", "identity", "snappy", "br", "zstd", "stream/gzip", "")
"""Values of ``grpc-encoding``, current and old. The empty string means: no header."""

_GZIP, _ZLIB = 31, 15


def bomb(size: int, *, gzip: bool) -> bytes:
    """Return ``size`` zero bytes, compressed about a thousandfold."""
    deflating = zlib.compressobj(9, wbits=_GZIP if gzip else _ZLIB)
    return b"".join((*(deflating.compress(bytes(MIB)) for _ in range(size // MIB)), deflating.flush()))


def inflating(address: str, path: str, algorithm: str, compressed: bytes) -> Attack:
    """Make one call with a message whose flag marks it as compressed."""
    attack = Attack()
    connection = attack.open(address)
    stream, headers = connection.call(path, *([("grpc-encoding", algorithm)] if algorithm else []))
    connection.send(headers)
    connection.flood(chunks(stream, message(compressed, compressed=True), end=True))
    return attack
