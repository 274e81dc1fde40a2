"""Stubs from protos with a renamed field, to check that clients built from stubs notice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.system.interop import stubs
from tests.system.interop.rows import BUILD

MESSAGE, FIELD, NEW_NAME = "BackupRecipients", "to_project_ids", "recipients"
"""Field that the scenario of the examples needs."""


def renamed(image: bytes) -> bytes:
    """Return the image with the field renamed; its number stays."""
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
    """Generate stubs of the changed protos; restore the original stubs when the context exits."""
    BUILD.mkdir(parents=True, exist_ok=True)
    image = BUILD / "renamed.binpb"
    image.write_bytes(renamed(stubs.IMAGE.read_bytes()))
    try:
        stubs.generate(image)
        yield
    finally:
        stubs.generate()
