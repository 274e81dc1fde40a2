"""Parts of a request's head that aiohttp's parsers accept, but must not be accepted (RFC 9110 and 9112)."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final

from aiohttp import HttpVersion11
from aiohttp.web import BaseRequest

from restmap_gateway.errors import RequestFailed, shortened
from restmap_gateway.transcode.forwarded import absolute_form

OTHER_CODING: Final = (
    "The header 'Transfer-Encoding' has another coding than one 'chunked'; send the body as it is, or in chunks."
)
"""Message for a coding that is not decoded here."""

_CLOSE: Final = {"Connection": "close"}
"""Closes the connection: another server before this one may see other requests in the same bytes."""

_CHUNKED: Final = "chunked"

# uri-host [":" port] of RFC 3986, without user information.
_HOST: Final = re.compile(
    r"(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]*))?"
)
_HIGHEST_PORT: Final = 65535
_LONGEST_PORT: Final = 5


def check_framing(request: BaseRequest) -> None:
    """Return if the end of the request is certain and its host is one.

    Raises:
        RequestFailed: 400 for a host that is none, and for any transfer coding in HTTP/1.0, which has none; 501 for a
            transfer coding that is not decoded here.
    """
    if request.body_exists:
        _check_coding(request)
    host = request.headers.get("Host", "")  # the parser refuses HTTP/1.1 without the header, and two of them
    if not _is_host(host) and (host or request.version >= HttpVersion11):
        raise _refused(f"Host: {shortened(host)!r} is no host, expected a name or an address, and perhaps a port")
    if absolute := absolute_form(request):
        _check_absolute(*absolute)


def _check_coding(request: BaseRequest) -> None:
    codings = request.headers.getall("Transfer-Encoding", ())
    if not codings:
        return
    if request.version < HttpVersion11:
        raise _refused("HTTP/1.0 has no header 'Transfer-Encoding'; send 'Content-Length'.")
    if len(codings) > 1 or codings[0].strip().lower() != _CHUNKED:
        raise RequestFailed(501, OTHER_CODING, _CLOSE)


def _check_absolute(scheme: str, authority: str) -> None:
    if scheme.lower() not in ("http", "https") or not _is_host(authority):
        # The target is not quoted: a user before the host has a password.
        raise _refused("The target of the request is no URL with http or https and a host without a user.")


def _refused(message: str) -> RequestFailed:
    return RequestFailed(400, message, _CLOSE)


@lru_cache(maxsize=256)
def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    if match is None:
        return False
    port, ipv6 = match["port"], match["ipv6"]
    if port and (len(port) > _LONGEST_PORT or int(port) > _HIGHEST_PORT):
        return False
    if not ipv6:
        return True
    try:
        ipaddress.IPv6Address(ipv6)
    except ValueError:
        return False
    return True
