"""Path templates of ``google.api.http``, after the grammar in ``google/api/http.proto``.

::

    Template  = "/" Segments [ Verb ] ;
    Segments  = Segment { "/" Segment } ;
    Segment   = "*" | "**" | LITERAL | Variable ;
    Variable  = "{" FieldPath [ "=" Segments ] "}" ;
    FieldPath = IDENT { "." IDENT } ;
    Verb      = ":" LITERAL ;

Two additions, as in Envoy and grpc-gateway: ``/`` alone is the root path, and segments may follow a ``**``, which may
then occur only once: ``/v1/{name=keyRings/**}/summary``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote_to_bytes

_IDENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Characters that RFC 3986 allows in a path segment, without `*` and `:`, which the grammar reserves, and with unescaped
# characters beyond ASCII: literals are compared decoded, so both spellings of a character are equal.
_LITERAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()+,;=@%]|[^\x00-\xa0])+")
_BAD_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_SLASH = re.compile("(%2[Ff])")


class TemplateError(ValueError):
    """A path template violates the grammar; the text has the template, the column (from 1) and the error."""

    def __init__(self, template: str, column: int, problem: str) -> None:
        super().__init__(f"path template {template!r}, column {column}: {problem}")
        self.template = template
        self.column = column


class Wildcard(Enum):
    """A template segment that matches any text."""

    ONE = "*"
    """Matches exactly one segment, which is not empty."""
    REMAINING = "**"
    """Matches any number of segments, or none."""


Segment = str | Wildcard
"""A decoded literal, or a wildcard."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A request field that takes a part of the path: the segments from ``start`` to before ``end``.

    Both count as in a slice: behind a ``**`` they are negative, because they count from the end of the path.
    """

    field_path: tuple[str, ...]
    """Names of the fields from the request inwards: ``{a.b}`` is ``("a", "b")``."""
    start: int
    end: int | None
    """End of the segments; None: the end of the path, because ``**`` is in the variable or before it."""

    @property
    def name(self) -> str:
        """Return the field path as in the template, joined by dots."""
        return ".".join(self.field_path)

    @property
    def is_multi_segment(self) -> bool:
        """Return whether the value can have several segments, so that an encoded ``%2F`` must stay encoded."""
        is_open = self.start >= 0 and (self.end is None or self.end < 0)
        return is_open or (self.end or 0) - self.start > 1

    def indexes(self, segments: int) -> range:
        """Return the indexes of the variable's segments among so many segments: of a path, or of the template."""
        return range(*slice(self.start, self.end).indices(segments))


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed path template; templates with equal ``segments`` and ``verb`` match the same paths."""

    text: str
    """The template as written."""
    segments: tuple[Segment, ...]
    """Segments; empty only for the root path, with at most one ``Wildcard.REMAINING``."""
    variables: tuple[Variable, ...]
    """Variables in the order of the path; no field path occurs twice."""
    verb: str
    """The verb, decoded, without its colon; empty for none."""


def percent_decoded(text: str) -> str:
    """Return the text with each ``%XX`` decoded, as UTF-8.

    Characters beyond ASCII, including surrogate escapes for undecodable bytes, count as the bytes they came from.

    Raises:
        ValueError: a ``%`` without two hexadecimal digits, or bytes that are not UTF-8; the text names the error.
    """
    if "%" not in text and text.isascii():
        return text
    bad = _BAD_PERCENT.search(text)
    if bad:
        raise ValueError(
            f"{text[bad.start() : bad.start() + 3]!r} is no percent-encoding, expected % and two hex digits"
        )
    try:
        return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8")
    except UnicodeError:
        raise ValueError("the percent-encoded bytes are not UTF-8") from None


def percent_decoded_except_slash(text: str) -> str:
    """Decode as `percent_decoded` but keep ``%2F`` and ``%2f``: the rule for variables of several segments.

    Raises:
        ValueError: as in `percent_decoded`.
    """
    return "".join(part if _SLASH.fullmatch(part) else percent_decoded(part) for part in _SLASH.split(text))


def parse(text: str) -> Template:
    """Parse a path template.

    Raises:
        TemplateError: the text violates the grammar, or a variable or ``**`` occurs twice.
    """
    return Template(text, (), (), "") if text == "/" else _Parser(text).template()


class _Parser:
    """Recursive descent parser of one template; each method consumes its part of the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._segments: list[Segment] = []
        self._variables: list[Variable] = []
        """Variables with starts and ends from the beginning of the template."""

    def template(self) -> Template:
        self._expect("/")
        self._take_segments(inside_variable=False)
        verb = self._literal("a verb") if self._take(":") else ""
        if self._at < len(self._text):
            raise self._error(f"{self._next()} is not expected here")
        return Template(self._text, tuple(self._segments), tuple(map(self._placed, self._variables)), verb)

    def _take_segments(self, *, inside_variable: bool) -> None:
        self._take_segment(inside_variable)
        while self._text.startswith("/", self._at):
            self._at += 1
            self._take_segment(inside_variable)

    def _take_segment(self, inside_variable: bool) -> None:
        if self._text.startswith("**", self._at):
            if Wildcard.REMAINING in self._segments:
                raise self._error("a second '**', where any part of the path could belong to either")
            self._expect("**")
            self._segments.append(Wildcard.REMAINING)
        elif self._take("*"):
            self._segments.append(Wildcard.ONE)
        elif not self._text.startswith("{", self._at):
            self._segments.append(self._literal("a literal, '*', '**' or a variable"))
        elif inside_variable:
            raise self._error("a variable must not contain another")
        else:
            self._take_variable()

    def _take_variable(self) -> None:
        column = self._at
        self._expect("{")
        path = [self._ident()]
        while self._take("."):
            path.append(self._ident())
        start = len(self._segments)
        if self._take("="):
            self._take_segments(inside_variable=True)
        else:
            self._segments.append(Wildcard.ONE)
        self._expect("}")
        variable = Variable(tuple(path), start, len(self._segments))
        if any(other.field_path == variable.field_path for other in self._variables):
            raise self._error(f"the variable {variable.name!r} occurs twice", column)
        self._variables.append(variable)

    def _placed(self, variable: Variable) -> Variable:
        """Return the variable with start and end counted from the end of the path if they are behind a ``**``."""
        if variable.end is None or Wildcard.REMAINING not in self._segments:
            return variable
        rest, length = self._segments.index(Wildcard.REMAINING), len(self._segments)
        start = variable.start if variable.start <= rest else variable.start - length
        end = variable.end if variable.end <= rest else variable.end - length or None
        return Variable(variable.field_path, start, end)

    def _ident(self) -> str:
        match = _IDENT.match(self._text, self._at)
        if match is None:
            raise self._error(f"expected the name of a field, found {self._next()}")
        self._at = match.end()
        return match.group()

    def _literal(self, expected: str) -> str:
        match = _LITERAL.match(self._text, self._at)
        if match is None:
            raise self._error(f"expected {expected}, found {self._next()}")
        try:
            decoded = percent_decoded(match.group())
        except ValueError as error:
            raise self._error(str(error)) from None
        self._at = match.end()
        return decoded

    def _take(self, text: str) -> bool:
        taken = self._text.startswith(text, self._at)
        if taken:
            self._at += len(text)
        return taken

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._error(f"expected {text!r}, found {self._next()}")

    def _next(self) -> str:
        return repr(self._text[self._at]) if self._at < len(self._text) else "the end"

    def _error(self, problem: str, at: int | None = None) -> TemplateError:
        return TemplateError(self._text, (self._at if at is None else at) + 1, problem)
