"""Access rules of Keystone's application credentials: the requests that a token may be used for.

A rule has the service type, the HTTP method and a pattern of the path. The rules have the same meaning as in
keystonemiddleware, except that every character that is no wildcard means itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

HTTP_METHOD = "x-forwarded-method"
"""Metadata key of the HTTP method, set by a gateway."""

HTTP_PATH = "x-forwarded-path"
"""Metadata key of the path as sent, without the query, set by a gateway."""

_TOKENS = re.compile(r"(\{[^}]*\})|(\*\*)|(\*)|(.)", re.DOTALL)
_UNRESERVED_IN_PATHS = "~!$&'()*+,;=:@"


class PathPattern:
    """A pattern of a path. ``**`` matches any text, ``*`` and ``{name}`` match text without ``/``, not empty.

    A user writes the pattern, so matching takes a time proportional to the path, whatever the pattern is: the states
    of an automaton are the bits of a number, and state n means that the first n elements of the pattern have matched.
    """

    def __init__(self, pattern: str) -> None:
        """Compile a pattern."""
        self._literals: dict[str, int] = defaultdict(int)
        self._segments = self._anything = 0
        size = 0
        for tag, anything, star, literal in _TOKENS.findall(pattern):
            if tag or star:
                self._segments |= 1 << size
            elif anything:
                self._anything |= 1 << size
            else:
                self._literals[literal] |= 1 << size
            size += 1
        self._end = 1 << size

    def matches(self, path: str) -> bool:
        """Return whether the pattern matches the whole path."""
        states = self._skipped(1)
        for one in path:
            step = self._literals.get(one, 0)
            # A segment that has begun may go on, and `**` stays where it is.
            stay = states & self._anything
            if one != "/":
                step |= self._segments
                stay |= states & (self._segments << 1)
            states = self._skipped(((states & step) << 1) | stay)
            if not states:
                return False
        return bool(states & self._end)

    def _skipped(self, states: int) -> int:
        """Add the states that are reached because ``**`` also matches an empty text."""
        while (more := states | ((states & self._anything) << 1)) != states:
            states = more
        return states


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One rule."""

    service: str
    """Service type, as in Keystone's catalogue."""
    method: str
    """HTTP method in upper case."""
    path: PathPattern


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The rules of one token; a request needs one that matches."""

    rules: Sequence[AccessRule]

    def refusal(self, metadata: Mapping[str, str], services: Collection[str], *, is_by_gateway: bool) -> str:
        """Return why a request is not allowed; empty if it is.

        Args:
            metadata: the metadata of the call.
            services: service types of this service.
            is_by_gateway: whether a gateway set the HTTP method and path in the metadata.
        """
        method, path = metadata.get(HTTP_METHOD, ""), metadata.get(HTTP_PATH, "")
        if not is_by_gateway:
            return (
                "The token's application credential has access rules, which name HTTP methods and paths; it counts only"
                " for REST requests through a gateway that the server knows (--gateway-peer, or a Unix socket)."
            )
        if not method or not path:
            return (
                "The token's application credential has access rules, and the gateway did not forward the HTTP method"
                " and path of the request, or the path is too long."
            )
        normal = _normal(path)
        for rule in self.rules:
            if rule.method == method and rule.service in services and rule.path.matches(normal):
                return ""
        of = " or ".join(services)
        return (
            f"None of the access rules of the token's application credential allows {method} {normal[:300]} of the"
            f" service {of}."
        )


def _normal(path: str) -> str:
    """Return a path in which only those characters are percent-encoded that must be."""
    segments = path.split("/") if "%" in path else ()
    return "/".join(quote(unquote_to_bytes(one), safe=_UNRESERVED_IN_PATHS) for one in segments) or path
