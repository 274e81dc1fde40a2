"""Request headers that may become metadata beside the caller's credentials: allowed names and prefixes."""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection, Iterable
from functools import lru_cache

from multidict import CIMultiDictProxy

from restmap_gateway.errors import InvalidRequest, Violation, shortened
from restmap_gateway.schema.crossing import IN_IF_NAMED, CrossingHeader, canonical, why_never_in

_KEY = re.compile(r"[0-9a-z_.-]+")
_PRINTABLE = re.compile(r"[ -~]*")
_BINARY = "-bin"
_MOST_KNOWN = 256
"""Maximum names whose keys are remembered; clients send a dozen."""


class AllowedHeaders:
    """Makes metadata from headers that an operator or the descriptor set allows."""

    def __init__(self, mappings: Iterable[CrossingHeader], reserved: Collection[str]) -> None:
        """Compile the names.

        Args:
            mappings: allowed headers and prefixes.
            reserved: metadata keys that no prefix reaches: those of credentials, of proxies and of the gateway itself.
        """
        self._reserved = IN_IF_NAMED.union(map(canonical, reserved))
        self._by_name = {one.header.lower(): one.metadata_key for one in mappings if not one.is_prefix}
        prefixes = [(one.header[:-1].lower(), one.metadata_key[:-1]) for one in mappings if one.is_prefix]
        self._prefixes = sorted(prefixes, key=lambda prefix: -len(prefix[0]))
        self._key = lru_cache(maxsize=_MOST_KNOWN)(self._find_key)

    def crosses(self, header: str) -> bool:
        """Return whether a header becomes metadata."""
        return bool(self._key(header.lower()))

    def of(self, headers: CIMultiDictProxy[str]) -> list[tuple[str, str | bytes]]:
        """Return the metadata for the headers of a request.

        Raises:
            InvalidRequest: two headers have the same key, or a value is not allowed in metadata.
        """
        found: dict[str, str | bytes] = {}
        hop_by_hop = _named_by_connection(headers)
        for name, value in headers.items():
            key = self._key(name.lower())
            if not key or name.lower() in hop_by_hop:
                continue
            if key in found:
                raise InvalidRequest(Violation(name, f"the metadata {key!r} is given more than once, expected once"))
            found[key] = _binary(name, value) if key.endswith(_BINARY) else text_value(name, value)
        return list(found.items())

    def _find_key(self, name: str) -> str:
        """Return the metadata key for a lower-case name; empty if the header does not cross."""
        if name in self._by_name:
            return self._by_name[name]
        for prefix, key_prefix in self._prefixes:
            if name.startswith(prefix):
                key = key_prefix + name.removeprefix(prefix)
                return key if self._may_cross(key) else ""
        return ""

    def _may_cross(self, key: str) -> bool:
        if not _KEY.fullmatch(key) or key.startswith("grpc-") or canonical(key) in self._reserved:
            return False
        return not why_never_in(key)


def _named_by_connection(headers: CIMultiDictProxy[str]) -> frozenset[str]:
    """Return the names of headers that the header ``Connection`` makes hop-by-hop."""
    values = headers.getall("Connection", ())
    return frozenset(name.strip().lower() for name in ",".join(values).split(","))


def text_value(name: str, value: str) -> str:
    """Return the value of a header as metadata.

    Raises:
        InvalidRequest: it has characters that are not allowed in metadata.
    """
    if not _PRINTABLE.fullmatch(value):
        raise InvalidRequest(Violation(name, "the header holds characters that are not printable ASCII"))
    return value


def _binary(name: str, value: str) -> bytes:
    padding = "=" * (-len(value) % 4)
    try:
        return binascii.a2b_base64(value + padding, strict_mode=True)
    except ValueError:
        raise InvalidRequest(
            Violation(name, f"{shortened(value)!r} is not base64, expected the bytes in base64")
        ) from None
