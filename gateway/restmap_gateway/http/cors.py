"""Cross-origin requests from browsers (CORS): disabled unless origins are configured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from aiohttp.web import BaseRequest

_ALLOWED = "Access-Control-Allow-Origin"
_ANY = "*"
_KEPT_SECONDS = 600
_MOST_ASKED = 100
"""Maximum number of header names of a preflight that are read."""


class Cors:
    """Decides which pages of other origins may read responses."""

    def __init__(
        self,
        origins: Collection[str],
        methods: Collection[str],
        request_headers: Collection[str],
        exposed: Collection[str],
        crosses: Callable[[str], bool] | None = None,
    ) -> None:
        """Create the rules.

        Args:
            origins: allowed origins, ``https://HOST`` each; ``*`` for all; empty for none.
            methods: allowed HTTP methods.
            request_headers: allowed request headers, in addition to those that browsers always allow.
            exposed: names of the response headers that pages may read, in addition to those of HTTP.
            crosses: returns whether a request header is allowed, for those that ``request_headers`` does not name.
        """
        self._origins = frozenset(origins)
        first, *more = exposed
        self._exposed = ", ".join((first, "Retry-After", "Allow", *more))
        self._crosses = crosses
        self._preflight = {
            "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
            "Access-Control-Allow-Headers": ", ".join(sorted(request_headers)),
            "Access-Control-Max-Age": str(_KEPT_SECONDS),
        }

    def is_preflight(self, request: BaseRequest) -> bool:
        """Return whether the request is a CORS preflight from an allowed origin."""
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        return asks and _ALLOWED in self.headers(request)

    def preflight_headers(self, request: BaseRequest) -> Mapping[str, str]:
        """Return the headers of the response to a preflight."""
        found = {**self.headers(request), **self._preflight}
        if self._crosses is not None:
            asked = request.headers.get("Access-Control-Request-Headers", "").split(",", _MOST_ASKED)
            allowed = [name for name in map(str.strip, asked) if self._crosses(name)]
            found["Access-Control-Allow-Headers"] = ", ".join((found["Access-Control-Allow-Headers"], *allowed))
        return found

    def headers(self, request: BaseRequest) -> Mapping[str, str]:
        """Return the headers that let the page read the response; none of them if its origin is not allowed."""
        origin = request.headers.get("Origin")
        if not self._origins:
            return {}
        if origin is None or not (_ANY in self._origins or origin in self._origins):
            # A cache must not send this response to a page of an allowed origin.
            return {"Vary": "Origin"}
        # No credentials: the page sends the token itself, so cookies and client certificates are not needed.
        return {
            _ALLOWED: _ANY if _ANY in self._origins else origin,
            "Access-Control-Expose-Headers": self._exposed,
            "Vary": "Origin",
        }
