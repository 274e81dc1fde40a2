"""Comments of proto elements, as texts for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)

_Path = tuple[int, ...]
_Named = tuple[str, _Path]
"""Full name of an element, and its path in ``SourceCodeInfo``."""

_FILE_MESSAGES, _FILE_ENUMS, _FILE_SERVICES = 4, 5, 6
_MESSAGE_FIELDS, _MESSAGE_NESTED, _MESSAGE_ENUMS = 2, 3, 4
_ENUM_VALUES = 2
_SERVICE_METHODS = 2
"""Field numbers of descriptor.proto in these paths."""

_INTERNAL = re.compile(r"\(--.*?--\)", re.DOTALL)
_DIRECTIVE = re.compile(r"^\s*(?:buf:lint|@\w+:?ignore|protolint:|api-linter:).*$", re.MULTILINE)
_SENTENCE = re.compile(r".*?[.!?](?=\s+[A-Z`(]|\s*$)", re.DOTALL)
_ABBREVIATED = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf)|\s[A-Z])\.$")


@dataclass(frozen=True, slots=True)
class Comment:
    """The comment of one element."""

    text: str
    """The whole text in Markdown; empty for none."""

    @property
    def summary(self) -> str:
        """Return the first sentence as plain text on one line, without its full stop."""
        paragraph = " ".join(self.text.partition("\n\n")[0].split())
        sentence = ""
        for match in _SENTENCE.finditer(paragraph):
            sentence += match.group()
            if not _ABBREVIATED.search(sentence):
                break
        return (sentence or paragraph).strip().removesuffix(".").replace("`", "")

    @property
    def is_one_sentence(self) -> bool:
        """Return whether the summary is the whole text."""
        return " ".join(self.text.replace("`", "").split()).removesuffix(".") == self.summary


class Comments:
    """The comments of a descriptor set; all empty if the set has no source info."""

    def __init__(self, files: Iterable[FileDescriptorProto]) -> None:
        """Read the comments."""
        self._texts: dict[str, str] = {}
        self._cleaned: dict[str, Comment] = {}
        for file in files:
            written = {tuple(one.path): text for one in _locations(file) if (text := _comment(one))}
            self._texts.update({name: written[path] for name, path in _elements(file) if path in written})

    def of(self, full_name: str) -> Comment:
        """Return the comment of a service, method (``package.Service.Method``), message, field, enum or enum value."""
        comment = self._cleaned.get(full_name)
        if comment is None:
            comment = self._cleaned[full_name] = Comment(_cleaned(self._texts.get(full_name, "")))
        return comment


def _locations(file: FileDescriptorProto) -> Iterable[FileDescriptorProto.SourceCodeInfo.Location]:  # type: ignore[name-defined]
    return file.source_code_info.location


def _comment(location: FileDescriptorProto.SourceCodeInfo.Location) -> str:  # type: ignore[name-defined]
    text: str = location.leading_comments or location.trailing_comments
    return text


def _cleaned(comment: str) -> str:
    """Remove directives for tools, internal notes, and the space after each ``//``."""
    if not comment:
        return comment
    lines = _DIRECTIVE.sub("", _INTERNAL.sub("", comment)).split("\n")
    text = "\n".join(line.removeprefix(" ").rstrip() for line in lines)
    return re.sub("\n{3,}", "\n\n", text).strip("\n")


def _elements(file: FileDescriptorProto) -> Iterator[_Named]:
    scope = f"{file.package}." if file.package else ""
    for index, message in enumerate(file.message_type):
        yield from _of_message(message, scope, (_FILE_MESSAGES, index))
    for index, enum in enumerate(file.enum_type):
        yield from _of_enum(enum, scope, (_FILE_ENUMS, index))
    for index, service in enumerate(file.service):
        yield from _of_service(service, scope, (_FILE_SERVICES, index))


def _of_message(message: DescriptorProto, scope: str, path: _Path) -> Iterator[_Named]:
    name = f"{scope}{message.name}"
    yield name, path
    for index, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*path, _MESSAGE_FIELDS, index)
    for index, nested in enumerate(message.nested_type):
        yield from _of_message(nested, f"{name}.", (*path, _MESSAGE_NESTED, index))
    for index, enum in enumerate(message.enum_type):
        yield from _of_enum(enum, f"{name}.", (*path, _MESSAGE_ENUMS, index))


def _of_enum(enum: EnumDescriptorProto, scope: str, path: _Path) -> Iterator[_Named]:
    name = f"{scope}{enum.name}"
    yield name, path
    for index, value in enumerate(enum.value):
        # Named under the enum, as people look values up; protobuf itself scopes them beside the enum.
        yield f"{name}.{value.name}", (*path, _ENUM_VALUES, index)


def _of_service(service: ServiceDescriptorProto, scope: str, path: _Path) -> Iterator[_Named]:
    name = f"{scope}{service.name}"
    yield name, path
    for index, method in enumerate(service.method):
        yield f"{name}.{method.name}", (*path, _SERVICE_METHODS, index)
