"""Metadata of the server that become response headers."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from multidict import CIMultiDict

from restmap_gateway.schema.crossing import CrossingHeader, canonical, why_never_out
from restmap_gateway.upstream.reply import Metadata

Sent = Sequence[tuple[str, str]]
"""Headers in order; a name may repeat."""

_PRINTABLE = re.compile(r"[ -~]*")
_NAME = re.compile(r"[0-9a-z_.-]+")
_MOST_KNOWN = 256
"""Maximum metadata keys whose headers are remembered."""
_EXPOSED = "Access-Control-Expose-Headers"


class ResponseHeaders:
    """Makes response headers from the metadata of a call."""

    def __init__(self, mappings: Iterable[CrossingHeader], own: str) -> None:
        """Compile the names; ``own``: the header that the gateway sets in every response."""
        allowed = tuple(mappings)
        self._own = canonical(own)
        self._by_key = {one.metadata_key: one.header for one in allowed if not one.is_prefix}
        prefixes = [(one.metadata_key[:-1], one.header[:-1]) for one in allowed if one.is_prefix]
        self._prefixes = sorted(prefixes, key=lambda prefix: -len(prefix[0]))
        self._header = lru_cache(maxsize=_MOST_KNOWN)(self._find_header)

    def of(self, metadata: Metadata) -> Sent:
        """Return the headers for initial and trailing metadata; repeated metadata are repeated headers."""
        found: dict[tuple[str, str], None] = {}
        for key, value in metadata:
            header = self._header(key)
            text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
            # A line break would let the server's data write headers.
            if header and _PRINTABLE.fullmatch(text):
                found[header, text] = None
        return tuple(found)

    def _find_header(self, key: str) -> str:
        """Return the header for a metadata key; empty if it does not cross."""
        if key in self._by_key:
            return self._by_key[key]
        for key_prefix, prefix in self._prefixes:
            if key.startswith(key_prefix):
                is_free = _NAME.fullmatch(key) and not key.startswith("grpc-") and canonical(key) != self._own
                if not is_free or why_never_out(key, is_named=False):
                    return ""
                return "-".join(word.capitalize() for word in f"{prefix}{key.removeprefix(key_prefix)}".split("-"))
        return ""


def add_sent(headers: CIMultiDict[str], sent: Sent) -> None:
    """Add headers of the server to those of the gateway, which win; scripts that may read these may read those too."""
    own = {name.lower() for name in headers}
    added = [(name, value) for name, value in sent if name.lower() not in own]
    headers.extend(added)
    if _EXPOSED in headers:
        exposed = headers[_EXPOSED].split(", ")
        known = {name.lower() for name in exposed}
        names = dict.fromkeys(name for name, _ in added if name.lower() not in known)
        headers[_EXPOSED] = ", ".join([*exposed, *names])
