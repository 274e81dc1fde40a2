"""Names of operations and components: short, plain, and different from each other in every language."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.descriptor import Descriptor, EnumDescriptor

from restmap_gateway.schema.schema import Method

_OF_OPERATIONS = ("", "body", "jsonbody", "jsonrequestbody", "params", "request", "response", "result")
"""Ends of the type names that generators make from the name of an operation, without case."""


class Names:
    """Hands out names. Generators change case and punctuation, so names that differ only in these count as equal."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """Start with names that are taken."""
        self._taken = {_key(name) for name in taken}

    def take(self, *candidates: str) -> str:
        """Return the first free candidate, or the last one with the lowest free number from 2; it is then taken."""
        name = next((one for one in candidates if _key(one) not in self._taken), "")
        number = 1
        while not name:
            number += 1
            numbered = f"{candidates[-1]}{'_' if '_' in candidates[-1] else ''}{number}"
            name = numbered if _key(numbered) not in self._taken else ""
        self._taken.add(_key(name))
        return name


class OperationNames:
    """Names of the services as tags, and of their rules as operations."""

    def __init__(self, methods: Sequence[Method]) -> None:
        """Name all rules of the methods."""
        services = dict.fromkeys(method.service for method in methods)
        short = Counter(_key(service.rpartition(".")[2]) for service in services)
        self._tags = {
            service: name if short[_key(name := service.rpartition(".")[2])] == 1 else service for service in services
        }
        self._operations = self._named(methods)

    def tag(self, service: str) -> str:
        """Return the name of a service, by its full name: the last part if that is unique."""
        return self._tags[service]

    def operation(self, method: Method, number: int) -> str:
        """Return the name of a method's rule; rules count from 1."""
        return self._operations[method.full_name, number]

    def types(self) -> Iterable[str]:
        """Return the names of types that generators make from operations."""
        return (f"{name}{end}" for name in self._operations.values() for end in _OF_OPERATIONS)

    def _named(self, methods: Sequence[Method]) -> Mapping[tuple[str, int], str]:
        names, found = Names(), {}
        # First rules first, so that a further rule never takes the name of a method.
        for method in methods:
            tag = self._tags[method.service].replace(".", "_")
            found[method.full_name, 1] = names.take(f"{tag}_{method.full_name.rpartition('/')[2]}")
        for method in methods:
            for number in range(2, len(method.bindings) + 1):
                name = found[method.full_name, 1]
                found[method.full_name, number] = names.take(f"{name}_{number}", name)
        return found


def type_names(types: Sequence[Descriptor | EnumDescriptor], names: Names) -> Mapping[str, str]:
    """Return a name for each message and enum, by full name, and take it.

    The name is that of the type, behind those of the enclosing messages: ``BookFormat`` for ``Book.Format``. The
    package is a part of the name only where types of several packages have the same name.
    """
    short = {one.full_name: _nested_name(one) for one in types}
    several = Counter(map(_key, short.values()))
    found: dict[str, str] = {}
    for one in sorted(types, key=lambda one: several[_key(short[one.full_name])]):
        name = short[one.full_name]
        long = f"{_camel(one.file.package)}{name}"
        found[one.full_name] = names.take(name, long) if several[_key(name)] == 1 else names.take(long)
    return found


def _nested_name(one: Descriptor | EnumDescriptor) -> str:
    package = one.file.package
    return "".join(map(_upper, one.full_name.removeprefix(f"{package}.").split(".")))


def _camel(package: str) -> str:
    return "".join(map(_upper, re.split(r"[._]", package)))


def _upper(word: str) -> str:
    return word[:1].upper() + word[1:]


def _key(name: str) -> str:
    return re.sub(r"[^0-9a-z]", "", name.lower())
