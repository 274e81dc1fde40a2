"""Parameters and headers that are not fields of messages: system parameters, and headers that cross as metadata."""

from __future__ import annotations

from collections.abc import Collection

from restmap_gateway.crossing.system_parameters import ENUMS_AS_NUMBERS
from restmap_gateway.openapi.schemas import reference
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


def parameters(conventions: Conventions) -> Json:
    """Return the parameters of every operation, as components by name.

    Of the standard system parameters only ``$alt`` is described: the others have no effect.
    """
    system = conventions.system_parameters
    names = sorted(system.names - (STANDARD - {ALT}))
    found: Json = {
        f"system-{name.strip('$')}{'-standard' if name == ALT else ''}": {"name": name, "in": "query"}
        | (_ALT if name in system.alt else _IGNORED)
        for name in names
    }
    headers = [one.header for one in conventions.request_headers if not one.is_prefix and not why_never_in(one.header)]
    return found | {f"header-{name.lower()}": {"name": name, "in": "header"} | _METADATA for name in headers}


def references(conventions: Conventions, own: Collection[str]) -> list[Json]:
    """Return references to the parameters of every operation, without those that the operation has itself."""
    taken = {name.lower() for name in own}
    described = parameters(conventions).items()
    return [reference("parameters", key) for key, one in described if _name(one).lower() not in taken]


def answer_headers(conventions: Conventions) -> Json:
    """Return the headers that come from metadata of every call, as components by name."""
    names = [one.header for one in conventions.response_headers if one.on_success and not one.is_prefix]
    return {name: {"description": "Metadata of the server.", "schema": {"type": "string"}} for name in names}


def _name(parameter: object) -> str:
    return str(parameter["name"]) if isinstance(parameter, dict) else ""
