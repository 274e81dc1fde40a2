"""Options of a descriptor set that apply to all calls: headers, request ids, statuses, authentication, title."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from restmap.v1 import restmap_pb2
from restmap_gateway.schema.crossing import CrossingHeader, canonical, crossing_header
from restmap_gateway.schema.descriptor_set import DescriptorSet, Problem
from restmap_gateway.schema.header_check import prefix_problems, request_problems, response_problems
from restmap_gateway.schema.restmap_options import HEADER_NAME, of_file
from restmap_gateway.schema.system_parameters import SystemParameters, read_system_parameters

__all__ = ["CLIENT_ADDRESS", "TRACE_HEADERS", "Conventions", "CrossingHeader", "RequestIdForm", "Statuses"]

TRACE_HEADERS: Final = ("traceparent", "tracestate")
"""Request headers that always become metadata, whatever the options say: W3C Trace Context."""

CLIENT_ADDRESS: Final = "x-forwarded-for"
"""Metadata key of the client's address."""

_METADATA_KEY = re.compile(r"[0-9a-z_.-]+")
_PREFIX = re.compile(r"[0-9A-Za-z_-]{0,32}")
_SCHEME_NAME = re.compile(r"[0-9A-Za-z._-]+")
_URL = re.compile(r"https?://[^/?#\s]+\S*")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_TAKEN_KEYS: Final = frozenset(
    {"content-type", "te", "user-agent", "host", "connection", CLIENT_ADDRESS, *TRACE_HEADERS}
)
"""Metadata keys that gRPC or this gateway sets itself."""

_TAKEN_HEADERS: Final = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "date", "server", "transfer-encoding", "vary"}
)
"""Response headers that this gateway sets itself."""


@dataclass(frozen=True, slots=True)
class RequestIdForm:
    """Header, metadata keys and format of request ids."""

    header: str = "X-Request-Id"
    metadata_key: str = "x-request-id"
    client_metadata_key: str = "x-client-request-id"
    prefix: str = ""
    """Text before the UUID of version 4."""

    @property
    def pattern(self) -> str:
        """Return a regular expression for an id."""
        return f"{self.prefix}[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}"


_PLAIN: Final = RequestIdForm()


@dataclass(frozen=True, slots=True)
class Statuses:
    """HTTP statuses that differ from those in ``google/rpc/code.proto``."""

    by_code: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """HTTP status by name of the gRPC code."""
    quota: int = 0
    """HTTP status of RESOURCE_EXHAUSTED with a ``QuotaFailure``; 0: the same as without."""


@dataclass(frozen=True, slots=True)
class Conventions:
    """Conventions of all calls of a descriptor set over HTTP; the defaults apply to a set without options."""

    request_headers: tuple[CrossingHeader, ...] = (CrossingHeader("authorization", "authorization"),)
    """Request headers that become metadata of a call."""
    proxy_headers: tuple[CrossingHeader, ...] = ()
    """Request headers that become metadata only if an authenticating proxy is expected in front."""
    response_headers: tuple[CrossingHeader, ...] = (
        CrossingHeader("WWW-Authenticate", "www-authenticate"),
        CrossingHeader("Proxy-Authenticate", "proxy-authenticate"),
    )
    """Response headers that are made from metadata of a failed call, or of every call."""
    request_id: RequestIdForm = _PLAIN
    security_schemes: tuple[restmap_pb2.SecurityScheme, ...] = ()
    """Security schemes, each sufficient alone; read-only."""
    statuses: Statuses = field(default_factory=Statuses)
    api_title: str = ""
    """Title of the API; empty if no file sets it."""
    api_version: str = ""
    """Version of the API; empty if no file sets it."""
    api_description: str = ""
    """Beginning of the description of the API, in Markdown; empty if no file sets it."""
    api_contact: restmap_pb2.ApiContact | None = None
    """Contact for users of the API; read-only; None if no file sets it."""
    api_license: restmap_pb2.ApiLicense | None = None
    """License of the API; read-only; None if no file sets it."""
    method_key: str = ""
    """Metadata key of a request's HTTP method; empty: not forwarded."""
    path_key: str = ""
    """Metadata key of a request's path; empty: not forwarded."""
    system_parameters: SystemParameters = field(default_factory=SystemParameters)
    """Query parameters of every call that are not fields of the request."""
    error_details: restmap_pb2.ErrorDetails.ValueType = restmap_pb2.ERROR_DETAILS_DOCUMENTED
    """Details of a failed call in the error body."""

    @property
    def headers_of_success(self) -> Sequence[CrossingHeader]:
        """Return the response headers that are made from metadata of successful calls too."""
        return [one for one in self.response_headers if one.on_success]

    @property
    def own_keys(self) -> frozenset[str]:
        """Return the metadata keys that the gateway sets itself, so that no header of a client may reach them."""
        form = self.request_id
        forwarded = {self.method_key, self.path_key} - {""}
        return frozenset({CLIENT_ADDRESS, *TRACE_HEADERS, form.metadata_key, form.client_metadata_key} | forwarded)

    @property
    def reserved_keys(self) -> frozenset[str]:
        """Return the metadata keys that no prefix of allowed headers reaches: other headers set them."""
        exact = (one for one in (*self.request_headers, *self.proxy_headers) if not one.is_prefix)
        return self.own_keys | {one.metadata_key for one in exact}

    def allowing(self, header_in: Iterable[str], header_out: Iterable[str], problems: list[Problem]) -> Conventions:
        """Return the conventions with more headers that cross; add those that must not to the problems.

        Args:
            header_in: names and prefixes of request headers.
            header_out: names and prefixes of response headers, for every call.
            problems: gets the errors.
        """
        known = {one.header.lower() for one in self.request_headers}
        inward = [crossing_header(header) for header in dict.fromkeys(header_in) if header.lower() not in known]
        outward = [crossing_header(header, on_success=True) for header in dict.fromkeys(header_out)]
        taken = frozenset(map(canonical, self.reserved_keys))
        for one in inward:
            if canonical(one.metadata_key) in taken:
                text = f"the request header {one.header!r} sets metadata that another header or the gateway sets"
                problems.append(Problem(text))
        for one in outward:
            if canonical(one.metadata_key) == canonical(self.request_id.header):
                problems.append(Problem(f"the response header {one.header!r} is one that the gateway sets itself"))
        named = {one.header.lower() for one in outward}
        before = (one for one in self.response_headers if one.header.lower() not in named)
        return replace(self, request_headers=(*self.request_headers, *inward), response_headers=(*before, *outward))


def read_conventions(descriptors: DescriptorSet, problems: list[Problem]) -> Conventions:
    """Return the conventions of a descriptor set; add their errors to the problems."""
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
        api_version=next((option.api_version for option in every if option.api_version), ""),
        api_description=next((option.api_description for option in every if option.api_description), ""),
        api_contact=next((option.api_contact for option in every if option.HasField("api_contact")), None),
        api_license=next((option.api_license for option in every if option.HasField("api_license")), None),
        system_parameters=read_system_parameters(descriptors),
        error_details=next((one.error_details for one in every if one.error_details), usual.error_details),
        method_key=next((one.http_method_metadata_key for one in every if one.http_method_metadata_key), ""),
        path_key=next((one.path_metadata_key for one in every if one.path_metadata_key), ""),
    )
    problems += map(Problem, _id_problems(found))
    return found


def _headers(mappings: Iterable[restmap_pb2.HeaderMapping]) -> tuple[CrossingHeader, ...]:
    return tuple(crossing_header(one.header, one.metadata_key, on_success=one.on_success) for one in mappings)


def _key(header: str, metadata_key: str) -> str:
    return metadata_key or header.lower()


def _request_id(option: restmap_pb2.RequestIdMapping) -> RequestIdForm:
    header = option.header or _PLAIN.header
    client_key = option.client_metadata_key or _PLAIN.client_metadata_key
    return RequestIdForm(header, _key(header, option.metadata_key), client_key, option.prefix)


def _statuses(mappings: Iterable[restmap_pb2.StatusMapping]) -> Statuses:
    found = list(mappings)
    quota = next((one.quota_http_status for one in found if one.quota_http_status), 0)
    return Statuses({_name(one.code): one.http_status for one in found if one.http_status}, quota)


def _problems(option: restmap_pb2.FileMapping) -> Iterator[str]:
    """Yield the errors in the options of one file."""
    yield from _mappings_problems(option)
    if option.HasField("request_id"):
        form = _request_id(option.request_id)
        yield from _header_problems(form.header)
        yield from (*_key_problems(form.metadata_key), *_key_problems(form.client_metadata_key))
        if not _PREFIX.fullmatch(form.prefix):
            yield f"the prefix {form.prefix!r} of request ids must be up to 32 letters, digits, '_' and '-'"
    for key in filter(None, (option.http_method_metadata_key, option.path_metadata_key)):
        yield from _key_problems(key)
    for scheme in option.security_schemes:
        credential = scheme.header or scheme.authorization
        if not (_SCHEME_NAME.fullmatch(scheme.name) and HEADER_NAME.fullmatch(credential)):
            yield f"the security scheme {scheme.name!r} needs a name, and a header or the scheme of an authorization"
    for status in option.statuses:
        yield from _status_problems(status)
    yield from _api_problems(option)


def _api_problems(option: restmap_pb2.FileMapping) -> Iterator[str]:
    for name, url in (("api_contact", option.api_contact.url), ("api_license", option.api_license.url)):
        if url and not _URL.fullmatch(url):
            yield f"{name}: {url!r} is not an absolute http or https URL"
    if option.HasField("api_license") and not option.api_license.name:
        yield "api_license: the name of the license is missing"
    email = option.api_contact.email
    if email and not _EMAIL.fullmatch(email):
        yield f"api_contact: {email!r} is not an email address"


def _id_problems(conventions: Conventions) -> Iterator[str]:
    form = conventions.request_id
    keys = [each.metadata_key for each in (*conventions.request_headers, *conventions.proxy_headers)]
    for key in (form.metadata_key, form.client_metadata_key):
        if key in keys or form.metadata_key == form.client_metadata_key:
            yield f"the metadata key {key!r} is that of request ids, and of something else"
    keys += [form.metadata_key, form.client_metadata_key]
    for key in filter(None, (conventions.method_key, conventions.path_key)):
        # A header of a client must never set these keys: servers trust them.
        if key in keys or conventions.method_key == conventions.path_key:
            yield f"the metadata key {key!r} is that of the HTTP method or path, and of something else"


def _mappings_problems(option: restmap_pb2.FileMapping) -> Iterator[str]:
    for mapping in option.request_headers:
        yield from _mapping_problems(mapping, may_be_binary=True) or request_problems(mapping)
    for mapping in option.proxy_headers:
        yield from _mapping_problems(mapping, may_be_binary=False)
    for mapping in option.response_headers:
        yield from _header_problems(mapping.header.removesuffix("*"))
        if mapping.header.lower() in _TAKEN_HEADERS:
            yield f"the response header {mapping.header!r} is one that the gateway sets itself"
        else:
            yield from response_problems(mapping)
        if mapping.header.endswith("*"):
            yield from prefix_problems(mapping)


def _mapping_problems(mapping: restmap_pb2.HeaderMapping, *, may_be_binary: bool) -> list[str]:
    """Return the errors in the names of a request header and its key."""
    header, key = mapping.header, _key_of(mapping)
    if may_be_binary and header.endswith("*"):
        return [*_header_problems(header.removesuffix("*")), *prefix_problems(mapping)]
    is_binary = may_be_binary and key.endswith("-bin")
    return [*_header_problems(header), *_key_problems(key.removesuffix("-bin") if is_binary else key)]


def _header_problems(header: str) -> Iterator[str]:
    if not HEADER_NAME.fullmatch(header):
        yield f"{header!r} is not the name of a header"


def _key_problems(key: str) -> Iterator[str]:
    if not _METADATA_KEY.fullmatch(key) or key.endswith("-bin"):
        yield f"{key!r} is not the key of metadata that hold text"
    elif key.startswith("grpc-") or key in _TAKEN_KEYS:
        yield f"the metadata key {key!r} is one that gRPC or the gateway sets itself"


def _status_problems(status: restmap_pb2.StatusMapping) -> Iterator[str]:
    if status.code == restmap_pb2.GrpcStatus.OK:
        yield "statuses: OK is not the code of a failure"
    for value in (status.http_status, status.quota_http_status):
        if value and not 400 <= value <= 599:
            yield f"statuses: {value} is not the HTTP status of a failure, expected 400 to 599"
    if status.quota_http_status and status.code != restmap_pb2.GrpcStatus.RESOURCE_EXHAUSTED:
        yield f"statuses: quota_http_status is for RESOURCE_EXHAUSTED, not for {_name(status.code)}"


def _name(code: int) -> str:
    value = restmap_pb2.GrpcStatus.Code.DESCRIPTOR.values_by_number.get(code)
    return value.name if value is not None else str(code)


def _repetitions(options: Mapping[str, restmap_pb2.FileMapping]) -> Iterator[Problem]:
    """Yield an error for each option that several files set though only one may."""
    first: dict[str, str] = {}
    for name, option in options.items():
        for setting in _set_once(option):
            if setting in first:
                yield Problem(f"sets {setting}, as {first[setting]} does already", name)
            first.setdefault(setting, name)


def _key_of(mapping: restmap_pb2.HeaderMapping) -> str:
    return crossing_header(mapping.header, mapping.metadata_key).metadata_key


_SET_ONCE: Final = frozenset(
    {
        *("api_contact", "api_description", "api_license", "api_title", "api_version", "error_details"),
        *("http_method_metadata_key", "path_metadata_key", "request_id", "system_parameters"),
    }
)
"""Options that only one file of a set may set."""


def _set_once(option: restmap_pb2.FileMapping) -> Iterator[str]:
    yield from (one.name for one, _ in option.ListFields() if one.name in _SET_ONCE)
    for mapping in (*option.request_headers, *option.proxy_headers):
        yield f"the request header {mapping.header.lower()!r}"
        yield f"the metadata {_key_of(mapping)!r}"
    for mapping in option.response_headers:
        yield f"the response header {mapping.header.lower()!r}"
        yield f"the response header of the metadata {_key_of(mapping)!r}"
    yield from (f"the security scheme {scheme.name!r}" for scheme in option.security_schemes)
    yield from (f"the status of {_name(status.code)}" for status in option.statuses)
