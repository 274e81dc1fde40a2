"""Query parameters of every call that are not fields of its request, such as ``$alt``."""

from __future__ import annotations

from collections.abc import Callable, Collection

from restmap_gateway.errors import InvalidRequest, Violation, shortened
from restmap_gateway.schema.http_rule import percent_decoded
from restmap_gateway.schema.system_parameters import SystemParameters

ENUMS_AS_NUMBERS = "json;enum-encoding=int"
FORMS = ("json", ENUMS_AS_NUMBERS)
"""Forms of a response that ``$alt`` can select."""


class SystemQuery:
    """Separates the system parameters of a query from the fields of a request."""

    def __init__(self, parameters: SystemParameters, fields: Callable[[], Collection[str]]) -> None:
        """Accept the parameters, except those with the name of a field.

        Args:
            parameters: parameters that calls accept.
            fields: returns the names of the fields that the query can set; called once, when a query needs it.
        """
        self._parameters = parameters
        self._fields = fields
        self._begin_with_dollar = all(name.startswith("$") for name in parameters.names)
        self._names: frozenset[str] | None = None

    def split(self, query: str) -> tuple[str, bool]:
        """Return the rest of a raw query, and whether the client wants enums as numbers.

        Raises:
            InvalidRequest: the query asks for a form of the response that the gateway does not have.
        """
        if not query or (self._begin_with_dollar and "$" not in query and "%24" not in query):
            return query, False
        names = self._names
        if names is None:
            names = self._names = self._parameters.names.difference(self._fields())
        rest: list[str] = []
        forms: list[str] = []
        for piece in query.split("&"):
            name, _, value = piece.partition("=")
            name = _decoded(name)
            if name not in names:
                rest.append(piece)
            elif name in self._parameters.alt:
                forms.append(_form(name, _decoded(value)))
                if len(forms) > 1:
                    raise InvalidRequest(Violation(name, "is given more than once, expected once"))
        return "&".join(rest), ENUMS_AS_NUMBERS in forms


def _form(name: str, value: str) -> str:
    if value not in FORMS:
        expected = " or ".join(map(repr, FORMS))
        text = f"there is no response of the form {shortened(value)!r}, expected {expected}"
        raise InvalidRequest(Violation(name, text))
    return value


def _decoded(text: str) -> str:
    """Return the text of a name or value; as it is, if its encoding is invalid, which is an error of the rest."""
    try:
        return percent_decoded(text.replace("+", " "))
    except ValueError:
        return text
