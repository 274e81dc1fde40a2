"""The details of a ``google.rpc.Status`` as JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import orjson
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2

from restmap_gateway.json_map.well_known.any import any_writer
from restmap_gateway.json_map.writer import WriterCompiler

_STANDARD = frozenset(one.full_name for one in error_details_pb2.DESCRIPTOR.message_types_by_name.values())
"""Full names of the types of ``google/rpc/error_details.proto``, which a descriptor set need not have."""


class DetailsWriter:
    """Writes details whose types are in a descriptor set or in ``google.rpc``; others are written as their bytes."""

    def __init__(self, pool: DescriptorPool) -> None:
        """Take types from ``pool``."""
        writers = WriterCompiler()
        self._pool = pool
        self._write = any_writer(pool, writers.message)
        self._write_standard = any_writer(error_details_pb2.DESCRIPTOR.pool, writers.message)

    # The generated class of Any has no static type.
    def write(self, details: Iterable[Any]) -> list[object]:
        """Return the JSON of each detail, for orjson; a detail that has no JSON is written as its bytes in base64."""
        return [self._one(detail) for detail in details]

    def _one(self, detail: Any) -> object:  # noqa: ANN401
        write = self._write
        name = detail.type_url.rpartition("/")[2]
        if name in _STANDARD and not self._knows(name):
            write = self._write_standard
        try:
            return orjson.Fragment(orjson.dumps(write(detail)))
        except (DecodeError, ValueError, TypeError, RecursionError):
            # The bytes are not of this type, or the JSON is nested too deeply.
            return {"@type": detail.type_url, "value": base64.b64encode(detail.value).decode("ascii")}

    def _knows(self, name: str) -> bool:
        try:
            self._pool.FindMessageTypeByName(name)
        except KeyError:
            return False
        return True


def bad_request(violations: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Return the JSON of a ``google.rpc.BadRequest`` as a detail: field and description of each violation."""
    found = [{"field": field, "description": description} for field, description in violations]
    name = error_details_pb2.BadRequest.DESCRIPTOR.full_name
    return {"@type": f"type.googleapis.com/{name}", "field_violations": found}
