"""Cross-origin requests from browsers: off unless origins are named."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from aiohttp.web import BaseRequest

_ALLOWED = "Access-Control-Allow-Origin"
_ANY = "*"
_KEPT_SECONDS = 600


class Cors:
    """Says which pages of other origins may read what is answered."""

    def __init__(
        self, origins: Collection[str], methods: Collection[str], request_headers: Collection[str], exposed: str
    ) -> None:
        """Prepare.

        Args:
            origins: ``https://HOST`` of the pages that may; ``*`` for all; empty for none.
            methods: HTTP methods that they may use.
            request_headers: headers that they may send beyond those that are always allowed.
            exposed: the header of every answer that they may read, besides those of HTTP.
        """
        self._origins = frozenset(origins)
        self._exposed = f"{exposed}, Retry-After, Allow"
        self._preflight = {
            "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
            "Access-Control-Allow-Headers": ", ".join(sorted(request_headers)),
            "Access-Control-Max-Age": str(_KEPT_SECONDS),
        }

    def is_preflight(self, request: BaseRequest) -> bool:
        """Whether a browser asks on its own what a page may do, and there is something to allow."""
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        return asks and _ALLOWED in self.headers(request)

    def preflight_headers(self, request: BaseRequest) -> Mapping[str, str]:
        """The answer to a preflight."""
        return {**self.headers(request), **self._preflight}

    def headers(self, request: BaseRequest) -> Mapping[str, str]:
        """What lets the page that sent a request read its answer; nothing that does for other pages."""
        origin = request.headers.get("Origin")
        if not self._origins:
            return {}
        if origin is None or not (_ANY in self._origins or origin in self._origins):
            # A cache must not give this answer to a page that may read it.
            return {"Vary": "Origin"}
        # No credentials: the token is sent by the page itself, so no cookie or certificate is ever wanted.
        return {
            _ALLOWED: _ANY if _ANY in self._origins else origin,
            "Access-Control-Expose-Headers": self._exposed,
            "Vary": "Origin",
        }
