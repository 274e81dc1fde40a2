"""Finds the rule for a request in a trie over the segments of the path.

If several templates match a path, the most literal one is preferred, read from the left: a literal before ``*``, ``*``
before ``**``, a custom verb before a colon that is part of the value. Segments behind a ``**`` are compared in the same
way, but from the right: ``/**/a/b`` before ``/**/b`` before ``/**/*`` before ``/**``. The order of registration does
not matter. Among the matching templates, the first one that serves the HTTP method wins, so that a literal route never
hides a method of a variable one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from restmap_gateway.errors import InvalidRequest, Violation
from restmap_gateway.schema.http_rule import (
    Segment,
    Template,
    Variable,
    Wildcard,
    percent_decoded,
    percent_decoded_except_slash,
)

T = TypeVar("T")

ANY_METHOD = "*"
"""The kind of a custom pattern that serves every HTTP method for which its template has no other rule."""


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """A rule that serves the request."""

    target: T
    values: Mapping[str, str]
    """Decoded text of each variable of the template, by its field path (``a.b``)."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """No template matches the path."""


@dataclass(frozen=True, slots=True)
class MethodNotAllowed:
    """Templates match the path, but none of them serves the method."""

    allow: frozenset[str]
    """All methods that the path serves, with OPTIONS, and with HEAD if GET is one."""


class RouteConflict(Exception, Generic[T]):
    """Two rules for one HTTP method match exactly the same paths."""

    def __init__(self, http_method: str, existing: Route[T], added: Route[T]) -> None:
        super().__init__(
            f"{http_method} {added.template.text!r} matches the same paths as "
            f"{http_method} {existing.template.text!r}: {added.target} and {existing.target}"
        )
        self.http_method = http_method
        self.existing = existing
        self.added = added


@dataclass(frozen=True, slots=True)
class Route(Generic[T]):
    """A template and its target."""

    template: Template
    target: T


@dataclass(slots=True)
class _Node(Generic[T]):
    """State after some segments; written while rules are added, then read-only."""

    literals: dict[str, _Node[T]] = field(default_factory=dict)
    one: _Node[T] | None = None
    rest: _Node[T] | None = None
    """State behind ``**``; its own segments are those at the end of the path, from right to left."""
    verbs: dict[str, dict[str, Route[T]]] = field(default_factory=dict)
    """Routes of templates that end here: by verb (empty for none), then by HTTP method."""


class Router(Generic[T]):
    """Maps HTTP method and path to a target; add all rules first, then match from any number of tasks."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, http_method: str, template: Template, target: T) -> None:
        """Serve requests of this method and path shape with the target; `ANY_METHOD` means all other methods.

        Raises:
            RouteConflict: a rule for this method and shape exists and stays; names of variables are not part of the
                shape.
        """
        node = self._root
        for segment in _from_both_ends(template.segments):
            node = _child(node, segment)
        routes = node.verbs.setdefault(template.verb, {})
        added = Route(template, target)
        existing = routes.setdefault(http_method, added)
        if existing is not added:
            raise RouteConflict(http_method, existing, added)

    def match(self, http_method: str, raw_path: str) -> Match[T] | NotFound | MethodNotAllowed:
        """Return the rule for a request.

        Args:
            http_method: as received; methods are case-sensitive.
            raw_path: percent-encoded path without the query.

        An empty segment matches nothing, so neither a trailing nor a double slash matches. The rule for GET serves HEAD
        if the template has no rule for HEAD. A segment with invalid encoding matches wildcards only.

        Raises:
            InvalidRequest: a rule matches, but a segment for a variable has invalid encoding: a ``%`` without two
                hexadecimal digits, or bytes that are not UTF-8. The violation names the variable.
        """
        segments = _split(raw_path)
        if segments is None:
            return NotFound()
        search: _Search[T] = _Search(http_method)
        route = search.with_verb(self._root, segments) or search.below(self._root, segments, 0, "")
        if route is not None:
            return Match(route.target, _values(route.template, segments))
        if not search.allow:
            return NotFound()
        allow = search.allow | {"OPTIONS"} | ({"HEAD"} if "GET" in search.allow else set())
        return MethodNotAllowed(frozenset(allow))


class _Search(Generic[T]):
    """Searches the route of one request: depth first, the most literal child first.

    The search visits a node at most once for each verb, so the size of the trie bounds its cost.
    """

    def __init__(self, http_method: str) -> None:
        self._http_method = http_method
        self.allow: set[str] = set()
        """HTTP methods of templates that match the path but do not serve the request's method."""

    def with_verb(self, root: _Node[T], segments: list[str]) -> Route[T] | None:
        """Return the route of a template with a verb; cut the verb off the segments if there is one."""
        stem, colon, raw_verb = segments[-1].rpartition(":") if segments else ("", "", "")
        if not (colon and raw_verb and (stem or len(segments) == 1)):
            return None
        before = [*segments[:-1], stem] if stem else []
        verb = _decoded(raw_verb)
        route = None if verb is None else self.below(root, before, 0, verb)
        if route is not None:
            segments[:] = before
        return route

    def below(self, node: _Node[T], segments: list[str], index: int, verb: str) -> Route[T] | None:
        """Return the first route below a node that serves the request."""
        if index == len(segments):
            route = self._ending(node, verb)
        else:
            route = None
            literal = node.literals.get(_decoded(segments[index]) or "")  # literals are never empty
            if literal is not None:
                route = self.below(literal, segments, index + 1, verb)
            if route is None and node.one is not None:
                route = self.below(node.one, segments, index + 1, verb)
        if route is None and node.rest is not None:
            route = self._behind_rest(node.rest, segments, index, len(segments), verb)
        return route

    def _behind_rest(self, node: _Node[T], segments: list[str], index: int, end: int, verb: str) -> Route[T] | None:
        """Return the first route behind a ``**`` that takes at least none of the segments from index to end."""
        route = None
        if index < end:
            literal = node.literals.get(_decoded(segments[end - 1]) or "")
            if literal is not None:
                route = self._behind_rest(literal, segments, index, end - 1, verb)
            if route is None and node.one is not None:
                route = self._behind_rest(node.one, segments, index, end - 1, verb)
        return route or self._ending(node, verb)

    def _ending(self, node: _Node[T], verb: str) -> Route[T] | None:
        routes = node.verbs.get(verb)
        if not routes:
            return None
        route = _serving(routes, self._http_method)
        if route is None:
            self.allow.update(routes)
        return route


def _from_both_ends(segments: tuple[Segment, ...]) -> Iterator[Segment]:
    """Yield the segments to the ``**``, then those behind it from right to left."""
    rest = segments.index(Wildcard.REMAINING) + 1 if Wildcard.REMAINING in segments else len(segments)
    yield from segments[:rest]
    yield from reversed(segments[rest:])


def _child(node: _Node[T], segment: str | Wildcard) -> _Node[T]:
    """Return the child node for a segment of a template; create it if missing."""
    if isinstance(segment, str):
        return node.literals.setdefault(segment, _Node())
    if segment is Wildcard.ONE:
        node.one = node.one or _Node()
        return node.one
    node.rest = node.rest or _Node()
    return node.rest


def _serving(routes: Mapping[str, Route[T]], http_method: str) -> Route[T] | None:
    route = routes.get(http_method)
    if route is None and http_method == "HEAD":
        route = routes.get("GET")
    return route or routes.get(ANY_METHOD)


def _split(raw_path: str) -> list[str] | None:
    """Return the raw segments, none for ``/``; None for a path that no template can match."""
    if raw_path == "/":
        return []
    if not raw_path.startswith("/"):
        return None
    segments = raw_path[1:].split("/")
    return segments if all(segments) else None


def _decoded(segment: str) -> str | None:
    """Return the decoded segment; None for invalid encoding, which equals no literal."""
    try:
        return percent_decoded(segment)
    except ValueError:
        return None


def _values(template: Template, segments: list[str]) -> dict[str, str]:
    return {variable.name: _value(variable, segments) for variable in template.variables}


def _value(variable: Variable, segments: list[str]) -> str:
    decode = percent_decoded_except_slash if variable.is_multi_segment else percent_decoded
    raw = "/".join(segments[variable.start : variable.end])
    try:
        return decode(raw)
    except ValueError as error:
        raise InvalidRequest(Violation(variable.name, f"in the path: {error}")) from None
