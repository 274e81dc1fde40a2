"""Checks the header mappings of a descriptor set against the headers that never cross."""

from __future__ import annotations

import re
from collections.abc import Iterator

from restmap.v1 import restmap_pb2
from restmap_gateway.schema.crossing import (
    READABLE,
    canonical,
    crossing_header,
    is_credential,
    why_never_in,
    why_never_out,
)

_NAME = re.compile(r"[0-9A-Za-z_.-]+\*?|\*")

_CHALLENGES = frozenset({"www-authenticate", "proxy-authenticate"})
"""Headers that the gateway sets, but only from metadata of failed calls."""


def request_problems(mapping: restmap_pb2.HeaderMapping) -> Iterator[str]:
    """Yield the reasons why a request header must not become metadata for every caller."""
    header, key = mapping.header, crossing_header(mapping.header, mapping.metadata_key).metadata_key
    is_same = canonical(header) == canonical(key)
    why = why_never_in(key)
    if why and not (is_same and is_credential(key)):
        advice = "; name it in proxy_headers" if is_same and "caller" in why else ""
        yield f"no request header may set the metadata {key!r}: {why}{advice}"
        return
    is_readable = is_same or canonical(header) in READABLE or is_credential(header)
    if not is_readable and (why := why_never_in(header)):
        yield f"the request header {header!r} may not become metadata: {why}"


def response_problems(mapping: restmap_pb2.HeaderMapping) -> Iterator[str]:
    """Yield the reasons why metadata must not become a response header."""
    key = crossing_header(mapping.header, mapping.metadata_key).metadata_key
    if (
        canonical(mapping.header) in _CHALLENGES
        and not mapping.on_success
        and canonical(key) == canonical(mapping.header)
    ):
        return
    for name in dict.fromkeys((mapping.header, key)):
        if why := why_never_out(name, is_named=True):
            yield f"the response header {mapping.header!r} may not come from metadata: {why}"
            return


def why_not_in(name: str) -> str:
    """Return why a setting may not allow a request header, or a prefix with ``*`` at its end; empty if it may."""
    if reason := _why_no_name(name):
        return reason
    why = why_never_in(crossing_header(name).metadata_key)
    return f"may never become metadata: {why}" if why else ""


def why_not_out(name: str) -> str:
    """Return why a setting may not allow a response header, or a prefix with ``*`` at its end; empty if it may."""
    if reason := _why_no_name(name):
        return reason
    why = why_never_out(crossing_header(name).metadata_key, is_named=True)
    return f"may never come from metadata: {why}" if why else ""


def _why_no_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        return "expected the name of a header, or a prefix such as X-Tenant-*"
    return "the prefix is too short, expected the first word of a name such as X-Tenant-*" if _is_short(name) else ""


def _is_short(name: str) -> bool:
    return name.endswith("*") and name.lower().removesuffix("*") in ("", "g", "gr", "grp", "grpc", "grpc-")


def prefix_problems(mapping: restmap_pb2.HeaderMapping) -> Iterator[str]:
    """Yield the errors of a mapping as a prefix."""
    if mapping.metadata_key:
        yield f"the prefix {mapping.header!r} has a metadata_key, but the keys are the names of the headers"
    elif _is_short(mapping.header):
        yield f"the prefix {mapping.header!r} is too short, expected the first word of a name such as X-Tenant-*"
