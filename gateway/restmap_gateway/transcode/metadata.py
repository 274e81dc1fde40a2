"""Conversion between HTTP headers and gRPC metadata, including the request id."""

from __future__ import annotations

import re
from collections.abc import Sequence

import uuid_utils
from aiohttp.web import BaseRequest

from programkit.tracing.trace_context import TRACEPARENT, TRACESTATE, parsed
from restmap_gateway.crossing.inward import AllowedHeaders, text_value
from restmap_gateway.errors import InvalidRequest, Violation
from restmap_gateway.schema.conventions import (
    CLIENT_ADDRESS,
    Conventions,
    CrossingHeader,
    RequestIdForm,
)
from restmap_gateway.schema.crossing import why_never_in
from restmap_gateway.transcode.forwarded import Forwarded
from restmap_gateway.transcode.headers import Headers
from restmap_gateway.upstream.reply import Metadata

_PRINTABLE = re.compile(r"[ -~]*")

_LONGEST_PATH = 2048
"""Maximum characters of a forwarded path; by default, gRPC servers refuse metadata of more than 8 KiB in total."""


class RequestIds:
    """Makes request ids and recognizes those of clients and servers."""

    def __init__(self, form: RequestIdForm) -> None:
        """Use this format for all ids."""
        self.header = form.header
        """Header of the id in requests and in every response."""
        self._prefix = form.prefix
        self._key = form.metadata_key
        self._client_key = form.client_metadata_key
        self._is_id = re.compile(form.pattern).fullmatch

    def new(self) -> str:
        """Return a new id. Ids from clients are only logged, because a client may send the id of another request."""
        return f"{self._prefix}{uuid_utils.uuid4()}"

    def of_client(self, headers: Headers) -> str | None:
        """Return the id from the client, if it is well-formed."""
        given = headers.get(self.header)
        return given if given and self._is_id(given) else None

    def metadata(self, headers: Headers, request_id: str) -> list[tuple[str, str]]:
        """Return the metadata with the gateway's id of a request and the client's id."""
        given = self.of_client(headers)
        return [(self._key, request_id), *([(self._client_key, given)] if given else [])]

    def of_server(self, metadata: Metadata, request_id: str) -> str:
        """Return the id of a request in the server's log: the one in the reply, or else the gateway's own.

        A server accepts the id of a gateway that it knows, and no other.
        """
        for key, value in metadata:
            if key == self._key and isinstance(value, str) and self._is_id(value):
                return value
        return request_id


class RequestMetadata:
    """Makes the metadata of a call: the caller's identity, the trace and the request id."""

    def __init__(
        self, conventions: Conventions, ids: RequestIds, forwarded: Forwarded, *, proxy_identity: bool
    ) -> None:
        """Compile the header names; ``proxy_identity``: a proxy in front may set the caller's identity."""
        self._ids = ids
        self._forwarded = forwarded
        trace = (CrossingHeader(TRACEPARENT, TRACEPARENT),)
        from_proxy = conventions.proxy_headers if proxy_identity else ()
        credentials = [one for one in conventions.request_headers if is_fixed(one)]
        self._names = tuple((one.header, one.metadata_key) for one in (*credentials, *trace, *from_proxy))
        self._allowed = allowed_headers(conventions)
        self._method_key, self._path_key = conventions.method_key, conventions.path_key

    def of(self, request: BaseRequest, path: str, request_id: str) -> list[tuple[str, str | bytes]]:
        """Return the metadata of a call; ``path`` is the path as sent, without the query.

        Raises:
            InvalidRequest: a header is repeated or has characters that are not allowed in metadata.
        """
        found: list[tuple[str, str | bytes]] = [*crossing(request.headers, self._names)]
        if self._allowed is not None:
            found += self._allowed.of(request.headers)
        if client := self._forwarded.client(request):
            found.append((CLIENT_ADDRESS, client))
        if self._method_key:
            found.append((self._method_key, request.method))
        if self._path_key and len(path) <= _LONGEST_PATH and _PRINTABLE.fullmatch(path):
            found.append((self._path_key, path))
        return found + self._ids.metadata(request.headers, request_id)


def is_fixed(mapping: CrossingHeader) -> bool:
    """Return whether a header crosses in every request that has it: a credential, even if ``Connection`` names it."""
    return not mapping.is_prefix and bool(why_never_in(mapping.header))


def allowed_headers(conventions: Conventions) -> AllowedHeaders | None:
    """Return the headers that cross beside credentials; None if there are none."""
    allowed = [one for one in conventions.request_headers if not is_fixed(one)]
    return AllowedHeaders(allowed, conventions.reserved_keys) if allowed else None


def crossing(headers: Headers, names: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the metadata for headers; an invalid trace header is dropped and is not an error.

    Args:
        headers: headers of a request.
        names: names of headers, each with its metadata key.

    Raises:
        InvalidRequest: a header is repeated or has characters that are not allowed in metadata.
    """
    metadata: list[tuple[str, str]] = []
    for name, key in names:
        values = headers.getall(name, None)
        if values is None:
            continue
        if name == TRACEPARENT:
            metadata += _trace(headers)
            continue
        if len(values) > 1:
            raise InvalidRequest(Violation(name, f"the header is given {len(values)} times, expected once"))
        metadata.append((key, text_value(name, values[0])))
    return metadata


def _trace(headers: Headers) -> list[tuple[str, str]]:
    """Return the caller's place in a trace; nothing if it is invalid, as ``tracestate`` means nothing without it."""
    # W3C Trace Context: several tracestate headers form one list; several traceparent headers are invalid.
    given = headers.getall(TRACEPARENT, ())
    if len(given) != 1 or parsed(given[0]) is None:
        return []
    state = ",".join(headers.getall(TRACESTATE, ()))
    return [(TRACEPARENT, given[0]), *([(TRACESTATE, state)] if state and _PRINTABLE.fullmatch(state) else [])]
