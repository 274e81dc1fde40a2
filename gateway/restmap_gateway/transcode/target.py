"""The target of a request: path and query, as sent."""

from __future__ import annotations

from typing import Final

from aiohttp.web import BaseRequest, RequestKey

from restmap_gateway.errors import shortened
from restmap_gateway.transcode.failures import printable

_LONGEST_LOGGED = 256

ROUTE: Final = RequestKey("route", str)
"""The path template, or the page, that a request has matched; absent while it has matched none."""


def path_and_query(request: BaseRequest) -> tuple[str, str]:
    """Return path and query as sent; for a target in absolute form, the part after the host."""
    target = request.raw_path
    if not target.startswith("/"):
        _, scheme, rest = target.partition("://")
        target = "/" + rest.partition("/")[2] if scheme else target
    path, _, query = target.partition("?")
    return path, query


def logged_path(request: BaseRequest) -> str:
    """Return the path for the log, cut if long; without query, fragment and host, which may contain secrets."""
    path = path_and_query(request)[0].partition("#")[0]
    return shortened(printable(path), _LONGEST_LOGGED) if path.startswith("/") else ""
