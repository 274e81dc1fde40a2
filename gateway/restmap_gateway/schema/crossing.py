"""Headers that cross between HTTP and gRPC metadata, and those that never do, however they are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

GRPC_METADATA: Final = "grpc-metadata-"
"""Prefix of headers that carry metadata, in both directions: ``Grpc-Metadata-X`` has the key ``x``."""

_SEPARATORS = re.compile(r"[-_.]+")

_HOP_BY_HOP: Final = frozenset(
    {"connection", "http2-settings", "keep-alive", "te", "trailer", "trailers", "transfer-encoding", "upgrade"}
)
"""Headers of one connection: RFC 9110, section 7.6.1."""

_OF_THE_WAY: Final = frozenset(
    {"forwarded", "via", "host", "content-type", "content-length", "user-agent", "traceparent", "tracestate"}
)
_OF_THE_WAY_PREFIXES: Final = (
    "grpc-",
    "x-forwarded-",
    "x-original-",
    "x-rewrite-",
    "x-http-method-",
    "x-envoy-",
    "cf-",
)
"""Headers that describe a request or its way, and that gRPC, this gateway or a proxy sets."""

READABLE: Final = frozenset({"content-length", "content-type", "host", "user-agent", "via"})
"""Headers of the way whose values may become metadata under another key."""

_OF_THE_CALLER: Final = frozenset(
    {
        *("account", "admin", "authelia", "authentik", "cert", "certificate", "claim", "claims", "consumer"),
        *("dn", "domain", "email", "group", "groups", "identities", "identity", "impersonate", "ip", "login"),
        *("pomerium", "principal", "principals", "project", "remote", "remoteuser", "role", "roles", "scope", "scopes"),
        *("ssl", "subject", "tailscale", "user", "useremail", "userid", "userinfo", "username", "userprincipal"),
        *("users", "vouch", "webauth"),
    }
)
"""Words in the headers in which proxies and identity services describe a caller."""

_CREDENTIAL: Final = frozenset(
    {
        *("assertion", "auth", "authenticate", "authenticated", "authentication", "authorization", "bearer"),
        *("credential", "credentials", "jwt", "oidc", "password", "token", "tokens"),
    }
)
"""Words in the headers that carry a credential."""

IN_IF_NAMED: Final = frozenset({"cookie", "cookie2"})
"""Request headers that no prefix includes: browsers send them by themselves."""

_GATEWAYS_OWN: Final = frozenset({"allow", "alt-svc", "date", "server", "status", "vary", "www-authenticate"})
_SECURITY: Final = frozenset(
    {
        *("authentication-info", "clear-site-data", "document-policy", "expect-ct", "feature-policy", "nel"),
        *("optional-www-authenticate", "origin-agent-cluster", "permissions-policy", "public-key-pins"),
        *("public-key-pins-report-only", "referrer-policy", "report-to", "reporting-endpoints"),
        *("require-document-policy", "service-worker-allowed", "strict-transport-security", "timing-allow-origin"),
        *("x-content-security-policy", "x-content-type-options", "x-dns-prefetch-control", "x-download-options"),
        *("x-frame-options", "x-permitted-cross-domain-policies", "x-webkit-csp", "x-xss-protection"),
    }
)
_NEVER_OUT_PREFIXES: Final = ("access-control-", "content-", "cross-origin-", "grpc-", "proxy-", "sec-")
_FOR_PROXIES: Final = frozenset({"x-lighttpd-send-file", "x-litespeed-location", "x-reproxy-url", "x-sendfile"})
_FOR_PROXIES_PREFIX: Final = "x-accel-"
"""Headers that make a proxy in front send a file or another page."""

_OUT_IF_NAMED: Final = frozenset({"location", "refresh", "set-cookie", "set-cookie2"})
"""Headers that no prefix includes, because a browser acts on them."""


@dataclass(frozen=True, slots=True)
class CrossingHeader:
    """A header and the metadata key that carries its value in a call, or all headers with a prefix."""

    header: str
    """Name of the header; a name that ends with ``*`` is a prefix, and so is the key."""
    metadata_key: str
    on_success: bool = False
    """Whether the metadata of a successful call become this header too; only for responses."""

    @property
    def is_prefix(self) -> bool:
        """Return whether this is about all headers whose names begin with a text."""
        return self.header.endswith("*")


def crossing_header(header: str, metadata_key: str = "", *, on_success: bool = False) -> CrossingHeader:
    """Return the header; without a key of its own, the key is the name in lower case, without ``grpc-metadata-``."""
    return CrossingHeader(header, metadata_key or header.lower().removeprefix(GRPC_METADATA), on_success)


def canonical(name: str) -> str:
    """Return a header's name or a metadata key without the differences that some server may overlook.

    These are case, ``_`` and ``.`` in the place of ``-``, any number of ``Grpc-Metadata-`` before it, and ``-bin``.
    """
    text = _SEPARATORS.sub("-", name.lower()).strip("-")
    while text.startswith(GRPC_METADATA):
        text = text.removeprefix(GRPC_METADATA)
    return text.removesuffix("-bin")


def is_credential(name: str) -> bool:
    """Return whether a header carries a credential of the caller, such as ``authorization`` or a token."""
    text = canonical(name)
    return text.rpartition("-")[2] in _CREDENTIAL and not _why_on_the_way(text)


def why_never_in(name: str) -> str:
    """Return why no header of a client may become metadata of this name; empty if it may.

    Names that end with ``*`` are prefixes: no header with this prefix may.
    """
    text = canonical(name.removesuffix("*"))
    words = set(text.split("-"))
    if why := _why_on_the_way(f"{text}-" if name.endswith("*") else text):
        return why
    if not words.isdisjoint(_OF_THE_CALLER) and not is_credential(text):
        return "a proxy describes the caller in it"
    if not words.isdisjoint(_CREDENTIAL):
        return "it carries a credential"
    return ""


def _why_on_the_way(text: str) -> str:
    if text in _HOP_BY_HOP or text.startswith("proxy-"):
        return "it is about one connection"
    if text in _OF_THE_WAY or text.startswith(_OF_THE_WAY_PREFIXES):
        return "gRPC, the gateway or a proxy sets it"
    return ""


def why_never_out(name: str, *, is_named: bool) -> str:
    """Return why no metadata may become a response header of this name; empty if they may.

    Args:
        name: name of the header or metadata key; with ``*`` at its end, a prefix.
        is_named: whether this very header is allowed, not only a prefix of its name.
    """
    text = canonical(name.removesuffix("*"))
    start = f"{text}-" if name.endswith("*") else text
    if text in _HOP_BY_HOP:
        return "it is about one connection"
    if text in _SECURITY or text in _FOR_PROXIES or start.startswith(_FOR_PROXIES_PREFIX):
        return "browsers or proxies act on it"
    if text in _GATEWAYS_OWN or start.startswith(_NEVER_OUT_PREFIXES):
        return "the gateway sets it"
    if text in _OUT_IF_NAMED and not is_named:
        return "no prefix includes it"
    return ""
