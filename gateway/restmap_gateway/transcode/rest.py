"""Entry point of every request: finds the rule and checks that the request can be sent to the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp.web import BaseRequest, StreamResponse

from programkit.tracing.spans import current
from restmap_gateway.errors import RequestFailed, shortened
from restmap_gateway.schema.router import Match, MethodNotAllowed, Router
from restmap_gateway.schema.schema import Rule, Unserved
from restmap_gateway.transcode import headers
from restmap_gateway.transcode.body import read_body
from restmap_gateway.transcode.endpoint import Endpoint, UpstreamCall
from restmap_gateway.transcode.http_response import HttpResponse
from restmap_gateway.transcode.metadata import RequestMetadata
from restmap_gateway.transcode.pages import MakePage, Page
from restmap_gateway.transcode.stream import StreamingCalls, check_accepts_stream
from restmap_gateway.transcode.target import ROUTE, path_and_query
from restmap_gateway.transcode.unary import UnaryCalls

_READING: Final = frozenset({"GET", "HEAD"})
"""HTTP methods that pages serve."""

_HTML: Final = "text/html"


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Limits for the body of one request."""

    bytes: int
    seconds: float
    """Maximum time for the body to arrive."""


class Rest:
    """Handles requests."""

    def __init__(
        self,
        router: Router[Endpoint | Unserved],
        unary: UnaryCalls,
        streams: StreamingCalls,
        limits: BodyLimits,
        pages: Mapping[str, MakePage],
        metadata: RequestMetadata,
        front: MakePage | None = None,
    ) -> None:
        """Create the handler.

        Args:
            router: rules to serve.
            unary: handles unary calls.
            streams: handles server-streaming calls.
            limits: limits for the bodies of requests.
            pages: functions that make pages, by path. A page is preferred to a rule with a wildcard that matches its
                path too, but not to a rule for exactly this path.
            metadata: makes the metadata of calls.
            front: makes the page at ``/`` for clients that prefer HTML; None: there is none.
        """
        self._metadata = metadata
        self._router = router
        self._unary = unary
        self._streams = streams
        self._limits = limits
        self._pages = {path: page for path, page in pages.items() if not _has_own_rule(router, path)}
        self._front = None if _has_own_rule(router, "/") else front

    async def answer(
        self, request: BaseRequest, request_id: str, arrived: Callable[[], None]
    ) -> HttpResponse | StreamResponse:
        """Handle a request; ``arrived`` is called when the request is complete.

        Raises:
            InvalidRequest, RequestFailed: the gateway refuses the request or finds that it failed.
        """
        path, query = path_and_query(request)
        if make_page := self._page_for(request, path):
            request[ROUTE] = path
            return _page(request, await make_page())
        match = self._match(request.method, path)
        if isinstance(match, HttpResponse):
            return match
        endpoint = match.target
        if isinstance(endpoint, Unserved):
            if endpoint.template is not None:
                request[ROUTE] = endpoint.template.text
            raise RequestFailed(501, f"This gateway cannot serve {endpoint.method}: {endpoint.reason}.")
        request[ROUTE] = endpoint.rule.template.text
        if (span := current()) is not None and span.is_recording:
            span.rename(f"{endpoint.rule.http_method} {endpoint.rule.template.text}")
            span.describe({"http.route": endpoint.rule.template.text})
        streaming = endpoint.method.server_streaming
        if endpoint.write_content is None:
            check_accepts_stream(request.headers) if streaming else headers.check_accepts_json(request.headers)
        if endpoint.binding.takes_body and request.body_exists:
            (headers.check_is_json if endpoint.binding.takes_json else headers.check_is_not_encoded)(request.headers)
        body = await read_body(request, self._limits.bytes, self._limits.seconds)
        arrived()
        fields, as_numbers = (query, False) if endpoint.system is None else endpoint.system.split(query)
        call = UpstreamCall(
            endpoint=endpoint,
            request=request,
            request_id=request_id,
            path=path,
            query=query,
            message=endpoint.binding.bind(match.values, fields, request.headers, body),
            metadata=self._metadata.of(request, path, request_id),
            seconds=headers.timeout(request.headers),
            enums_as_numbers=as_numbers,
        )
        return await (self._streams if streaming else self._unary).answer(call)

    def _page_for(self, request: BaseRequest, path: str) -> MakePage | None:
        if request.method not in _READING:
            return None
        if path == "/" and self._front is not None and _prefers_html(request):
            return self._front
        return self._pages.get(path)

    def _match(self, http_method: str, path: str) -> Match[Endpoint | Unserved] | HttpResponse:
        of_page = _READING | {"OPTIONS"} if path in self._pages else frozenset()
        match self._router.match(http_method, path):
            case Match() as match:
                return match
            case MethodNotAllowed(allow):
                return _not_served(http_method, allow | of_page)
            case _ if of_page:
                return _not_served(http_method, of_page)
            case _:
                raise RequestFailed(404, "There is nothing at this path.")


def _has_own_rule(router: Router[Endpoint | Unserved], path: str) -> bool:
    """Return whether a rule without wildcards serves this path."""
    match = router.match("GET", path)
    rule = match.target.rule if isinstance(match, Match) else None
    return isinstance(rule, Rule) and all(isinstance(part, str) for part in rule.template.segments)


def _prefers_html(request: BaseRequest) -> bool:
    return headers.preference(request.headers, _HTML) > headers.preference(request.headers, headers.JSON)


def _page(request: BaseRequest, page: Page) -> HttpResponse:
    shown = {"Content-Type": page.content_type, **page.headers}
    if page.gzipped and headers.accepts_gzip(request.headers):
        return HttpResponse(200, page.gzipped, {**shown, "Content-Encoding": "gzip"})
    return HttpResponse(200, page.body, shown)


def _not_served(http_method: str, allow: frozenset[str]) -> HttpResponse:
    allowed = ", ".join(sorted(allow))
    if http_method == "OPTIONS":
        return HttpResponse(200, headers={"Allow": allowed})
    raise RequestFailed(
        405, f"{shortened(http_method)} is not allowed here; allowed are {allowed}.", {"Allow": allowed}
    )
