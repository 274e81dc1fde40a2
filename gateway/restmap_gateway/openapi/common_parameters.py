"""Parameters and headers that are not fields of messages: system parameters, and headers that cross as metadata."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial

from restmap_gateway.crossing.system_parameters import ENUMS_AS_NUMBERS
from restmap_gateway.openapi.components import Components
from restmap_gateway.openapi.values import Json
from restmap_gateway.schema.conventions import Conventions
from restmap_gateway.schema.crossing import why_never_in
from restmap_gateway.schema.system_parameters import ALT, STANDARD

_ALT: Json = {
    "description": f"Form of the response. Generated clients send `{ENUMS_AS_NUMBERS}`: enums are numbers then.",
    "schema": {"type": "string", "enum": ["json"]},
}
_IGNORED: Json = {"description": "Has no effect.", "schema": {"type": "string"}}
_METADATA: Json = {"description": "The server gets this header as metadata.", "schema": {"type": "string"}}


class CommonParameters:
    """Describes the parameters and headers of every operation."""

    def __init__(self, conventions: Conventions, components: Components) -> None:
        """Take the parameters and headers of an API; they become components."""
        self._components = components
        self._parameters = _parameters(conventions)
        outward = (one for one in conventions.response_headers if one.on_success and not one.is_prefix)
        self._headers = [one.header for one in outward]

    def parameters(self, own: Collection[str]) -> list[Json]:
        """Return references to the parameters, without those that an operation has ``own``, by name."""
        taken = {name.lower() for name in own}
        found = {name: one for name, one in self._parameters.items() if name.lower() not in taken}
        own_part = self._components.own
        return [own_part("parameters", partial(dict, one), f"{_camel(name)}Parameter") for name, one in found.items()]

    def answer_headers(self) -> Json:
        """Return references to the headers of every response that come from metadata of the server, by name."""
        return {name: self._components.own("headers", _sent, f"{_camel(name)}Header") for name in self._headers}


def _parameters(conventions: Conventions) -> dict[str, Json]:
    """Return the parameters by name; of the standard ones only ``$alt``: the others have no effect."""
    system = conventions.system_parameters
    names = sorted(system.names - (STANDARD - {ALT}))
    found = {name: {"name": name, "in": "query"} | (_ALT if name in system.alt else _IGNORED) for name in names}
    headers = [one.header for one in conventions.request_headers if not one.is_prefix and not why_never_in(one.header)]
    return found | {name: {"name": name, "in": "header"} | _METADATA for name in headers}


def _sent() -> Json:
    return {"description": "Metadata of the server.", "schema": {"type": "string"}}


def _camel(name: str) -> str:
    words = re.split("[^0-9A-Za-z]+", name)
    return "".join(word[:1].upper() + word[1:] for word in words) + ("Standard" if name == ALT else "")
