"""What a descriptor set says of all its calls: headers that cross, the request id, statuses, authentication, title."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from google.rpc import code_pb2

from restmap.v1 import restmap_pb2
from restmap_gateway.schema.descriptor_set import DescriptorSet, Problem
from restmap_gateway.schema.restmap_options import HEADER_NAME, of_file

TRACE_HEADERS: Final = ("traceparent", "tracestate")
"""Request headers that become metadata whatever the options say: W3C Trace Context."""

CLIENT_ADDRESS: Final = "x-forwarded-for"
"""Metadata key of the address of the client."""

_METADATA_KEY = re.compile(r"[0-9a-z_.-]+")
_PREFIX = re.compile(r"[0-9A-Za-z_-]{0,32}")
_SCHEME_NAME = re.compile(r"[0-9A-Za-z._-]+")
_TAKEN_KEYS: Final = frozenset(
    {"content-type", "te", "user-agent", "host", "connection", CLIENT_ADDRESS, *TRACE_HEADERS}
)
"""Metadata keys that gRPC, or this gateway, sets itself."""

_TAKEN_HEADERS: Final = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "date", "server", "transfer-encoding", "vary"}
)
"""Response headers that this gateway sets itself."""


@dataclass(frozen=True, slots=True)
class CrossingHeader:
    """A header, and the metadata that stand for it in a call."""

    header: str
    metadata_key: str


@dataclass(frozen=True, slots=True)
class RequestIdForm:
    """Where the id of a request stands, and what it looks like."""

    header: str = "X-Request-Id"
    metadata_key: str = "x-request-id"
    client_metadata_key: str = "x-client-request-id"
    prefix: str = ""
    """Before a UUID of version 4."""

    @property
    def pattern(self) -> str:
        """A regular expression for an id."""
        return f"{self.prefix}[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}"


_PLAIN: Final = RequestIdForm()


@dataclass(frozen=True, slots=True)
class Statuses:
    """HTTP statuses of gRPC codes that are not those of ``google/rpc/code.proto``."""

    by_code: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """By name of the code."""
    quota: int = 0
    """Of RESOURCE_EXHAUSTED with a ``QuotaFailure``; 0: as without."""


@dataclass(frozen=True, slots=True)
class Conventions:
    """What all calls of a descriptor set have in common over HTTP; the defaults are those of a set without options."""

    request_headers: tuple[CrossingHeader, ...] = (CrossingHeader("authorization", "authorization"),)
    """Become metadata of a call."""
    proxy_headers: tuple[CrossingHeader, ...] = ()
    """Become metadata only where an authenticating proxy is expected in front."""
    response_headers: tuple[CrossingHeader, ...] = (
        CrossingHeader("WWW-Authenticate", "www-authenticate"),
        CrossingHeader("Proxy-Authenticate", "proxy-authenticate"),
    )
    """Are made of metadata of a failed call."""
    request_id: RequestIdForm = _PLAIN
    security_schemes: tuple[restmap_pb2.SecurityScheme, ...] = ()
    """Any one of them will do; read-only."""
    statuses: Statuses = field(default_factory=Statuses)
    api_title: str = ""
    """Empty where no file says."""


def read_conventions(descriptors: DescriptorSet, problems: list[Problem]) -> Conventions:
    """The conventions of a descriptor set; what is wrong with them is added to the problems."""
    options = {file.name: of_file(file) for file in descriptors.files}
    for name, option in options.items():
        problems += (Problem(text, name) for text in _problems(option))
    problems += _repetitions(options)
    every, usual = options.values(), Conventions()
    found = Conventions(
        request_headers=_headers(one for option in every for one in option.request_headers) or usual.request_headers,
        proxy_headers=_headers(one for option in every for one in option.proxy_headers),
        response_headers=_headers(one for option in every for one in option.response_headers) or usual.response_headers,
        request_id=next((_request_id(option.request_id) for option in every if option.request_id.ByteSize()), _PLAIN),
        security_schemes=tuple(one for option in every for one in option.security_schemes),
        statuses=_statuses(one for option in every for one in option.statuses),
        api_title=next((option.api_title for option in every if option.api_title), ""),
    )
    problems += map(Problem, _id_problems(found))
    return found


def _headers(mappings: Iterable[restmap_pb2.HeaderMapping]) -> tuple[CrossingHeader, ...]:
    return tuple(CrossingHeader(one.header, _key(one.header, one.metadata_key)) for one in mappings)


def _key(header: str, metadata_key: str) -> str:
    return metadata_key or header.lower()


def _request_id(option: restmap_pb2.RequestIdMapping) -> RequestIdForm:
    header = option.header or _PLAIN.header
    client_key = option.client_metadata_key or _PLAIN.client_metadata_key
    return RequestIdForm(header, _key(header, option.metadata_key), client_key, option.prefix)


def _statuses(mappings: Iterable[restmap_pb2.StatusMapping]) -> Statuses:
    found = list(mappings)
    quota = next((one.quota_http_status for one in found if one.quota_http_status), 0)
    return Statuses({one.code: one.http_status for one in found if one.http_status}, quota)


def _problems(option: restmap_pb2.FileMapping) -> Iterator[str]:
    """What is wrong with the options of one file."""
    for mapping in (*option.request_headers, *option.proxy_headers):
        yield from _header_problems(mapping.header)
        yield from _key_problems(_key(mapping.header, mapping.metadata_key))
    for mapping in option.response_headers:
        yield from _header_problems(mapping.header)
        if mapping.header.lower() in _TAKEN_HEADERS:
            yield f"the response header {mapping.header!r} is one that the gateway sets itself"
    if option.HasField("request_id"):
        form = _request_id(option.request_id)
        yield from _header_problems(form.header)
        yield from (*_key_problems(form.metadata_key), *_key_problems(form.client_metadata_key))
        if not _PREFIX.fullmatch(form.prefix):
            yield f"the prefix {form.prefix!r} of request ids must be up to 32 letters, digits, '_' and '-'"
    for scheme in option.security_schemes:
        credential = scheme.header or scheme.authorization
        if not (_SCHEME_NAME.fullmatch(scheme.name) and HEADER_NAME.fullmatch(credential)):
            yield f"the security scheme {scheme.name!r} needs a name, and a header or the scheme of an authorization"
    for status in option.statuses:
        yield from _status_problems(status)


def _id_problems(conventions: Conventions) -> Iterator[str]:
    form = conventions.request_id
    keys = [each.metadata_key for each in (*conventions.request_headers, *conventions.proxy_headers)]
    for key in (form.metadata_key, form.client_metadata_key):
        if key in keys or form.metadata_key == form.client_metadata_key:
            yield f"the metadata key {key!r} is that of request ids, and of something else"


def _header_problems(header: str) -> Iterator[str]:
    if not HEADER_NAME.fullmatch(header):
        yield f"{header!r} is not the name of a header"


def _key_problems(key: str) -> Iterator[str]:
    if not _METADATA_KEY.fullmatch(key) or key.endswith("-bin"):
        yield f"{key!r} is not the key of metadata that hold text"
    elif key.startswith("grpc-") or key in _TAKEN_KEYS:
        yield f"the metadata key {key!r} is one that gRPC or the gateway sets itself"


def _status_problems(status: restmap_pb2.StatusMapping) -> Iterator[str]:
    if status.code not in code_pb2.Code.DESCRIPTOR.values_by_name or status.code == "OK":
        yield f"statuses: {status.code!r} is not the name of a gRPC code of a failure"
    for value in (status.http_status, status.quota_http_status):
        if value and not 400 <= value <= 599:
            yield f"statuses: {value} is not the HTTP status of a failure, expected 400 to 599"
    if status.quota_http_status and status.code != "RESOURCE_EXHAUSTED":
        yield f"statuses: quota_http_status is for RESOURCE_EXHAUSTED, not for {status.code}"


def _repetitions(options: Mapping[str, restmap_pb2.FileMapping]) -> Iterator[Problem]:
    """What the files of a set say more than once, though only once counts."""
    first: dict[str, str] = {}
    for name, option in options.items():
        for said in _said(option):
            if said in first:
                yield Problem(f"sets {said}, as {first[said]} does already", name)
            first.setdefault(said, name)


def _said(option: restmap_pb2.FileMapping) -> Iterator[str]:
    if option.HasField("request_id"):
        yield "request_id"
    if option.api_title:
        yield "api_title"
    for mapping in (*option.request_headers, *option.proxy_headers):
        yield f"the request header {mapping.header.lower()!r}"
        yield f"the metadata {_key(mapping.header, mapping.metadata_key)!r}"
    for mapping in option.response_headers:
        yield f"the response header {mapping.header.lower()!r}"
        yield f"the response header of the metadata {_key(mapping.header, mapping.metadata_key)!r}"
    yield from (f"the security scheme {scheme.name!r}" for scheme in option.security_schemes)
    yield from (f"the status of {status.code}" for status in option.statuses)
