"""Which headers become metadata, and which metadata become headers; the id of a request in both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import uuid_utils
from aiohttp.web import BaseRequest

from restmap_gateway.errors import InvalidRequest, Violation
from restmap_gateway.schema.conventions import (
    CLIENT_ADDRESS,
    TRACE_HEADERS,
    Conventions,
    CrossingHeader,
    RequestIdForm,
)
from restmap_gateway.transcode.forwarded import Forwarded
from restmap_gateway.transcode.headers import Headers
from restmap_gateway.upstream.reply import Metadata

_PRINTABLE = re.compile(r"[ -~]*")


class RequestIds:
    """Makes the ids of requests, and recognizes those of others."""

    def __init__(self, form: RequestIdForm) -> None:
        """Have all ids in this form."""
        self.header = form.header
        """Of requests and of every answer."""
        self._prefix = form.prefix
        self._key = form.metadata_key
        self._client_key = form.client_metadata_key
        self._is_id = re.compile(form.pattern).fullmatch

    def new(self) -> str:
        """A fresh id. Clients give ids too, and may give that of another's request: those are only logged."""
        return f"{self._prefix}{uuid_utils.uuid4()}"

    def of_client(self, headers: Headers) -> str | None:
        """The id that the client gave the request, if it is well formed."""
        given = headers.get(self.header)
        return given if given and self._is_id(given) else None

    def metadata(self, headers: Headers, request_id: str) -> list[tuple[str, str]]:
        """The metadata that tell the server the gateway's id of a request, and its client's."""
        given = self.of_client(headers)
        return [(self._key, request_id), *([(self._client_key, given)] if given else [])]

    def of_server(self, metadata: Metadata, request_id: str) -> str:
        """The id of a request in the server's log: the one that came with the answer, or else the gateway's own.

        A server takes over the id of a gateway that it knows, and no other.
        """
        for key, value in metadata:
            if key == self._key and isinstance(value, str) and self._is_id(value):
                return value
        return request_id


class RequestMetadata:
    """Makes the metadata of a call: what its request says of the caller, the trace and the id."""

    def __init__(
        self, conventions: Conventions, ids: RequestIds, forwarded: Forwarded, *, proxy_identity: bool
    ) -> None:
        """Prepare; ``proxy_identity``: an authenticating proxy in front may say who calls."""
        self._ids = ids
        self._forwarded = forwarded
        trace = (CrossingHeader(name, name) for name in TRACE_HEADERS)
        from_proxy = conventions.proxy_headers if proxy_identity else ()
        mappings = (*conventions.request_headers, *trace, *from_proxy)
        self._names = tuple((mapping.header, mapping.metadata_key) for mapping in mappings)

    def of(self, request: BaseRequest, request_id: str) -> list[tuple[str, str]]:
        """What goes with the call.

        Raises:
            InvalidRequest: a header is given twice or holds characters that metadata cannot.
        """
        found = crossing(request.headers, self._names)
        if client := self._forwarded.client(request):
            found.append((CLIENT_ADDRESS, client))
        return found + self._ids.metadata(request.headers, request_id)


class ResponseHeaders:
    """Makes response headers of the metadata of a failed call."""

    def __init__(self, mappings: Sequence[CrossingHeader]) -> None:
        """Take the metadata that become headers."""
        self._by_key = {mapping.metadata_key: mapping.header for mapping in mappings}

    def of(self, metadata: Metadata) -> Mapping[str, str]:
        """The headers that the metadata become."""
        by_key = self._by_key
        return {by_key[key]: value for key, value in metadata if key in by_key and isinstance(value, str)}


def crossing(headers: Headers, names: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The metadata that headers become; a trace that cannot be read is no reason to fail, but ends here.

    Args:
        headers: of a request.
        names: of headers, each with the key of its metadata.

    Raises:
        InvalidRequest: one of them is given twice or holds characters that metadata cannot.
    """
    metadata: list[tuple[str, str]] = []
    for name, key in names:
        values = headers.getall(name, None)
        if values is None:
            continue
        if name in TRACE_HEADERS:
            metadata += _trace(name, values)
            continue
        if len(values) > 1:
            raise InvalidRequest(Violation(name, f"the header is given {len(values)} times, expected once"))
        if not _PRINTABLE.fullmatch(values[0]):
            raise InvalidRequest(Violation(name, "the header holds characters that are not printable ASCII"))
        metadata.append((key, values[0]))
    return metadata


def _trace(name: str, values: Sequence[str]) -> list[tuple[str, str]]:
    # By W3C Trace Context: several of the second are one list, several of the first are none.
    value = ",".join(values)
    is_well_formed = bool(value) and bool(_PRINTABLE.fullmatch(value)) and (len(values) == 1 or name == "tracestate")
    return [(name, value)] if is_well_formed else []
