"""Stubs from protos in which a field has another name, to see which clients notice: those that are built from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.system.interop import stubs
from tests.system.interop.rows import BUILD

MESSAGE, FIELD, NEW_NAME = "BackupRecipients", "to_project_ids", "recipients"
"""The scenario of the examples cannot do without it."""


def renamed(image: bytes) -> bytes:
    """The image with the field under its new name, and its old number."""
    files = FileDescriptorSet.FromString(image)
    (field,) = (
        field
        for file in files.file
        for message in file.message_type
        for field in message.field
        if (message.name, field.name) == (MESSAGE, FIELD)
    )
    field.name = field.json_name = NEW_NAME
    return files.SerializeToString()


@contextmanager
def stubs_with_a_renamed_field() -> Iterator[None]:
    """While this is open, build/stubs has stubs of the changed protos; then those of the real ones again."""
    BUILD.mkdir(parents=True, exist_ok=True)
    image = BUILD / "renamed.binpb"
    image.write_bytes(renamed(stubs.IMAGE.read_bytes()))
    try:
        stubs.generate(image)
        yield
    finally:
        stubs.generate()
