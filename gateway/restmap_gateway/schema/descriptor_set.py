"""Opens a descriptor set: converts bytes from protoc to descriptors in a private pool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError


@dataclass(frozen=True, slots=True)
class Problem:
    """One error that prevents serving a descriptor set."""

    description: str
    file: str = ""
    """Name of the proto file; empty for an error of the whole set."""
    element: str = ""
    """Full name of the method, message, field or enum value."""
    rule: str = ""
    """HTTP method and path template, for an error of one rule."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.element, self.rule, self.description) if part)


class SchemaError(Exception):
    """A descriptor set cannot be served; the text has one line for each problem, all of them at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class DescriptorSet:
    """All files of a set in a private pool."""

    pool: DescriptorPool
    """Private pool; nothing of it is in the default pool."""
    files: tuple[FileDescriptor, ...]
    """Files, each after its imports."""
    protos: tuple[FileDescriptorProto, ...]
    """The same files in the same order, with comments if the set contains them."""

    def messages(self) -> Iterator[Descriptor]:
        """Yield every message type, including nested ones, without the entry types of maps."""
        for file in self.files:
            for message in file.message_types_by_name.values():
                yield from _with_nested(message)


def open_set(serialized: bytes) -> DescriptorSet:
    """Read a ``FileDescriptorSet`` with all its imports, as written by ``protoc --include_imports``.

    Raises:
        SchemaError: the bytes are not a descriptor set, an import is missing, or the files do not fit together.
    """
    try:
        files = FileDescriptorSet.FromString(serialized).file
    except DecodeError:
        raise SchemaError([Problem("these bytes are no descriptor set, expected a FileDescriptorSet")]) from None
    if not files:
        raise SchemaError([Problem("the descriptor set is empty")])
    ordered = _imports_first({file.name: file for file in files})
    pool = DescriptorPool()
    try:
        linked = tuple(pool.AddSerializedFile(file.SerializeToString()) for file in ordered)
    except TypeError as error:
        raise SchemaError([Problem(f"the files do not fit together: {error}")]) from None
    return DescriptorSet(pool, linked, tuple(ordered))


def _imports_first(files: dict[str, FileDescriptorProto]) -> list[FileDescriptorProto]:
    """Return the files sorted so that each follows its imports; protoc sorts them so, other tools may not."""
    missing = [
        Problem(f"imports {name!r}, which the set lacks; write the set with --include_imports", file.name)
        for file in files.values()
        for name in file.dependency
        if name not in files
    ]
    if missing:
        raise SchemaError(missing)
    waiting = dict(files)
    ordered: list[FileDescriptorProto] = []
    while waiting:
        ready = [file for file in waiting.values() if not any(name in waiting for name in file.dependency)]
        if not ready:
            raise SchemaError([Problem("imports itself, over other files", name) for name in waiting])
        for file in ready:
            ordered.append(waiting.pop(file.name))
    return ordered


def _with_nested(message: Descriptor) -> Iterator[Descriptor]:
    if message.GetOptions().map_entry:
        return
    yield message
    for nested in message.nested_types:
        yield from _with_nested(nested)
