"""The reasons of an enum whose values carry the option ``restmap.v1.reason``: how each ends a call.

Servers and clients derive their tables from this, so that a reason is described once, in the proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from google.protobuf.descriptor import EnumDescriptor

from restmap.v1 import restmap_pb2

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Reason:
    """How a call with one reason ends."""

    grpc_code: grpc.StatusCode
    """OK where the proto gives none."""
    code: str
    """What REST shows as ``code``; empty where the proto gives none."""
    http_status: int | None
    """None: the HTTP status that the gRPC code maps to."""
    nothing_done: bool
    """Whether the call changed nothing, and will not change anything later."""


def reasons_of(enum: EnumDescriptor) -> Mapping[str, Reason]:
    """Read the values of ``enum`` that carry the option, by the reason as ``google.rpc.ErrorInfo`` names it."""
    options = {value.name: value.GetOptions() for value in enum.values}
    return {
        without_prefix(name, enum.name): _reason(option.Extensions[restmap_pb2.reason])
        for name, option in options.items()
        if option.HasExtension(restmap_pb2.reason)
    }


def without_prefix(value: str, enum: str) -> str:
    """Name an enum value without its prefix: ``MY_CAUSE_X`` of the enum ``MyCause`` is ``X``.

    A value without the prefix keeps its name.
    """
    letters = iter(enum.replace("_", "").upper())
    expected = next(letters, None)
    for index, letter in enumerate(value):
        if expected is None:
            return value[index + 1 :] if letter == "_" and value[index + 1 :] else value
        if letter == expected:
            expected = next(letters, None)
        elif letter != "_":
            return value
    return value


def _reason(option: restmap_pb2.ReasonMapping) -> Reason:
    return Reason(_CODES[option.grpc_code], option.code, option.http_status or None, option.nothing_done)
