"""The named parts of a description: collected by key while it is made, and named when all of them are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from google.protobuf.descriptor import Descriptor, EnumDescriptor

from restmap_gateway.openapi.names import Names, type_names
from restmap_gateway.openapi.values import Json


class Form(Enum):
    """Form of a message; each form of a message is a component. The first form of these has the message's name."""

    ANSWER = ""
    PAGE = "Page"
    """In a response, with links to other pages."""
    REQUEST = "Input"
    BODY = "Body"
    """In a request, without fields that are bound elsewhere."""

    @property
    def suffix(self) -> str:
        """Return the end of the name if an earlier form of the message is a component too."""
        return self.value


class Components:
    """Schemas, responses and headers of one description."""

    def __init__(self) -> None:
        """Create an empty collection."""
        self._parts: dict[str, dict[str, object]] = {"schemas": {}, "responses": {}, "parameters": {}, "headers": {}}
        self._types: dict[str, Descriptor | EnumDescriptor] = {}
        self._forms: dict[str, tuple[str, Form]] = {}
        self._own: dict[str, tuple[str, ...]] = {}

    def of_type(self, one: Descriptor | EnumDescriptor, form: Form, make: Callable[[], Json], more: str = "") -> Json:
        """Return a reference to the schema of a message or an enum, which is made if it is new.

        Args:
            one: type of the values.
            form: form of the message.
            make: makes the schema, which may refer to itself.
            more: what else distinguishes this schema from others of the same form.
        """
        key = f"{one.full_name}|{form.name}|{more}"
        schemas = self._parts["schemas"]
        if key not in schemas:
            self._types[one.full_name] = one
            self._forms[key] = (one.full_name, form)
            schemas[key] = None
            schemas[key] = make()
        return _reference("schemas", key)

    def own(self, kind: str, part: Callable[[], Json], *names: str) -> Json:
        """Return a reference to a part that is not of a proto, such as a failure.

        Args:
            kind: ``schemas``, ``responses``, ``parameters`` or ``headers``.
            part: makes the part if it is new.
            names: names from the best one; the first one identifies the part.
        """
        key = f"|{names[0]}|"
        if key not in self._parts[kind]:
            self._own[key] = names
            self._parts[kind][key] = None
            self._parts[kind][key] = part()
        return _reference(kind, key)

    def named(self, description: Json, names: Names) -> Json:
        """Return the description with the components, which all get their names; changes it in place."""
        found = self._names(names)
        parts = {
            kind: dict(sorted((found[key], part) for key, part in of_kind.items()))
            for kind, of_kind in self._parts.items()
            if of_kind
        }
        others = description.get("components")
        whole = description | {"components": parts | (others if isinstance(others, dict) else {})}
        references = {_path(kind, key): _path(kind, found[key]) for kind in self._parts for key in self._parts[kind]}
        _rename(whole, references)
        return whole

    def _names(self, names: Names) -> Mapping[str, str]:
        of_types = type_names(list(self._types.values()), names)
        found: dict[str, str] = {}
        named: set[str] = set()
        for key, (full_name, form) in sorted(self._forms.items(), key=lambda one: _FORMS.index(one[1][1])):
            name = of_types[full_name]
            found[key] = name if full_name not in named else names.take(f"{name}{form.suffix}")
            named.add(full_name)
        return found | {key: names.take(*candidates) for key, candidates in self._own.items()}


_FORMS = list(Form)


def _reference(kind: str, key: str) -> Json:
    return {"$ref": _path(kind, key)}


def _path(kind: str, key: str) -> str:
    return f"#/components/{kind}/{key}"


def _rename(part: object, references: Mapping[str, str]) -> None:
    """Replace all references in a part, in place."""
    if isinstance(part, list):
        for one in part:
            _rename(one, references)
    elif isinstance(part, dict):
        old = part.get("$ref")
        if isinstance(old, str) and old in references:
            part["$ref"] = references[old]
        for one in part.values():
            _rename(one, references)
