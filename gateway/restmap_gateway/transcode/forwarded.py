"""Information from proxies in front: the public URL of this gateway and the client's address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from aiohttp.web import BaseRequest

_MOST_HOPS = 32
"""Maximum entries of ``X-Forwarded-For`` to read, from its end."""

_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{2,45}")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class Forwarded:
    """Returns scheme and host as the client sees them, and the client's address."""

    def __init__(self, public_url: str | None, trusted_proxies: Sequence[Network], listen: str) -> None:
        """Store the settings.

        Args:
            public_url: URL that all links start with, whatever the request contains; None: use the request.
            trusted_proxies: networks whose ``X-Forwarded-Proto`` and ``X-Forwarded-Host`` are trusted.
            listen: ``HOST:PORT`` to use for a request without a valid ``Host``.
        """
        self._public_url = public_url.rstrip("/") if public_url else None
        self._trusted_proxies = tuple(trusted_proxies)
        self._listen = listen

    def base(self, request: BaseRequest) -> str:
        """Return ``scheme://host`` of the request, without a slash at the end."""
        if self._public_url:
            return self._public_url
        scheme, host = request.scheme, _host(request)
        if self._is_trusted(request.remote):
            # A chain of proxies appends values; the first one is from the client.
            forwarded_scheme = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
            scheme = forwarded_scheme if forwarded_scheme in ("http", "https") else scheme
            host = request.headers.get("X-Forwarded-Host", "").partition(",")[0].strip() or host
        return f"{scheme}://{host if _HOST.fullmatch(host) else self._listen}"

    def client(self, request: BaseRequest) -> str:
        """Return the client's address: the last entry of ``X-Forwarded-For`` that is not a trusted proxy's.

        Empty if unknown. Entries further left can be forged by anybody.
        """
        if not self._trusted_proxies:
            return request.remote or ""
        named = ",".join(request.headers.getall("X-Forwarded-For", ()))
        address = request.remote or ""
        for hop in reversed(named.rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
            if not self._is_trusted(address) or not _ADDRESS.fullmatch(hop.strip()):
                break
            address = hop.strip()
        return address

    def _is_trusted(self, remote: str | None) -> bool:
        if not self._trusted_proxies or not remote:
            return False
        try:
            address = ipaddress.ip_address(remote)
        except ValueError:
            return False
        return any(address in network for network in self._trusted_proxies)


def absolute_form(request: BaseRequest) -> tuple[str, str] | None:
    """Return scheme and authority of a target in absolute form, as sent; None for a target in another form."""
    scheme, is_absolute, rest = request.raw_path.partition("://")
    return (scheme, re.split("[/?#]", rest, maxsplit=1)[0]) if is_absolute and not scheme.startswith("/") else None


def _host(request: BaseRequest) -> str:
    """Return the host of a target in absolute form, which is preferred to ``Host`` (RFC 9112, 3.2.2), else ``Host``."""
    absolute = absolute_form(request)
    return request.headers.get("Host", "") if absolute is None else absolute[1]
