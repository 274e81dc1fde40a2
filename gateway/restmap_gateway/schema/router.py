"""Finds the rule that serves a request: a trie over the segments of the path.

Where several templates match a path, the most literal one is preferred, read from the left: a literal before
``*``, ``*`` before ``**``, a custom verb before a colon that is part of the value, whatever the order of
registration. Among those that match the path, the first one that serves the HTTP method wins, so that a literal
route never hides a method of a variable one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from restmap_gateway.errors import InvalidRequest, Violation
from restmap_gateway.schema.http_rule import Template, Variable, Wildcard, percent_decoded, percent_decoded_except_slash

T = TypeVar("T")

ANY_METHOD = "*"
"""The kind of a custom pattern that serves every HTTP method its template has no other rule for."""


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
    """Templates match the path, none of them serves the method."""

    allow: frozenset[str]
    """All methods that the path serves, HEAD wherever GET is, and OPTIONS."""


class RouteConflict(Exception, Generic[T]):
    """Two rules for one HTTP method match exactly the same paths."""

    def __init__(self, http_method: str, standing: Route[T], added: Route[T]) -> None:
        super().__init__(
            f"{http_method} {added.template.text!r} matches the same paths as "
            f"{http_method} {standing.template.text!r}: {added.target} and {standing.target}"
        )
        self.http_method = http_method
        self.standing = standing
        self.added = added


@dataclass(frozen=True, slots=True)
class Route(Generic[T]):
    """A template and what serves it."""

    template: Template
    target: T


@dataclass(slots=True)
class _Node(Generic[T]):
    """What is known after some segments; filled while rules are added, only read afterwards."""

    literals: dict[str, _Node[T]] = field(default_factory=dict)
    one: _Node[T] | None = None
    rest: _Node[T] | None = None
    verbs: dict[str, dict[str, Route[T]]] = field(default_factory=dict)
    """Routes of templates that end here: by verb (empty for none), then by HTTP method."""


class Router(Generic[T]):
    """Maps HTTP method and path to a target; add every rule first, then match from any number of tasks."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, http_method: str, template: Template, target: T) -> None:
        """Serve requests of that method and shape of path with the target; `ANY_METHOD` for all other methods.

        Raises:
            RouteConflict: a rule for that method and shape is there already; the names of variables are no part
                of the shape. The standing rule stays.
        """
        node = self._root
        for segment in template.segments:
            node = _child(node, segment)
        routes = node.verbs.setdefault(template.verb, {})
        added = Route(template, target)
        standing = routes.setdefault(http_method, added)
        if standing is not added:
            raise RouteConflict(http_method, standing, added)

    def match(self, http_method: str, raw_path: str) -> Match[T] | NotFound | MethodNotAllowed:
        """The rule for a request.

        Args:
            http_method: as received; methods are case-sensitive.
            raw_path: still percent-encoded, without the query.

        An empty segment matches nothing, so neither a trailing nor a double slash does. HEAD is served by the
        rule for GET where a template has none for HEAD. A segment whose encoding is broken matches wildcards only.

        Raises:
            InvalidRequest: a rule matches, but the encoding of a segment it takes is broken: a ``%`` without two
                hexadecimal digits, or bytes that are not UTF-8. It names the variable.
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
    """Looks for the route of one request: depth first, the most literal child first.

    It visits a node at most once for each verb, so its cost is bounded by the trie.
    """

    def __init__(self, http_method: str) -> None:
        self._http_method = http_method
        self.allow: set[str] = set()
        """HTTP methods of templates that match the path, but do not serve the one asked for."""

    def with_verb(self, root: _Node[T], segments: list[str]) -> Route[T] | None:
        """The route of a template with a verb; cuts the verb off the segments if there is one."""
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
        """The first route below a node that serves the request."""
        if index == len(segments):
            route = self._ending(node, verb)
        else:
            route = None
            literal = node.literals.get(_decoded(segments[index]) or "")  # no literal is empty
            if literal is not None:
                route = self.below(literal, segments, index + 1, verb)
            if route is None and node.one is not None:
                route = self.below(node.one, segments, index + 1, verb)
        if route is None and node.rest is not None:
            route = self._ending(node.rest, verb)
        return route

    def _ending(self, node: _Node[T], verb: str) -> Route[T] | None:
        routes = node.verbs.get(verb)
        if not routes:
            return None
        route = _serving(routes, self._http_method)
        if route is None:
            self.allow.update(routes)
        return route


def _child(node: _Node[T], segment: str | Wildcard) -> _Node[T]:
    """The node behind a segment of a template, made where it is missing."""
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
    """The raw segments, none for ``/``; None for a path that no template can match."""
    if raw_path == "/":
        return []
    if not raw_path.startswith("/"):
        return None
    segments = raw_path[1:].split("/")
    return segments if all(segments) else None


def _decoded(segment: str) -> str | None:
    """None where the encoding is broken: such a segment equals no literal."""
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
