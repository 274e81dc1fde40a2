"""The page ``/metrics``: the metrics of a registry, in the format that the client asks for."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

_COMPRESS_FROM = 1024
"""Bytes from which a response is compressed."""

_LEVEL = 4
"""Level of gzip: higher levels take twice the time for a tenth fewer bytes."""


async def metrics(registry: CollectorRegistry, request: web.BaseRequest) -> web.Response:
    """Return the metrics, as text or as OpenMetrics, compressed if the client accepts gzip; ``name[]`` selects some."""
    accept = ",".join(request.headers.getall("Accept", ()))
    body, content_type = _encoded(registry, accept, request.query.getall("name[]", ()))
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    if len(body) >= _COMPRESS_FROM and _accepts_gzip(request.headers.getall("Accept-Encoding", ())):
        # In a thread: zlib needs milliseconds, in which the event loop can answer calls.
        body = await asyncio.to_thread(gzip.compress, body, _LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, headers=headers)


def _encoded(registry: CollectorRegistry, accept: str, names: Sequence[str]) -> tuple[bytes, str]:
    try:
        encode, content_type = choose_encoder(accept)
        content_type.encode("ascii")  # the library puts parts of the header into the type
    except (ValueError, TypeError):  # a version that is no number
        encode, content_type = choose_encoder("")
    return encode(registry.restricted_registry(names) if names else registry), content_type


def _accepts_gzip(headers: Sequence[str]) -> bool:
    for one in ",".join(headers).split(","):
        coding, _, weight = one.replace(" ", "").lower().partition(";")
        if coding == "gzip":
            return weight not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
