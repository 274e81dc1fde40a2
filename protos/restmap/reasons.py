"""Reader of the option ``restmap.v1.reason``, which an enum of reasons has on its values.

Servers and clients derive their tables from this option, so that each reason is described only once, in the proto.
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
    """The option of one reason."""

    grpc_code: grpc.StatusCode
    """gRPC status code; OK if the proto gives none."""
    code: str
    """Member ``code`` of REST error bodies; empty if the proto gives none."""
    http_status: int | None
    """HTTP status; None: the status of the gRPC code."""
    nothing_done: bool
    """Whether the call changed nothing, and will not change anything later."""


def reasons_of(enum: EnumDescriptor) -> Mapping[str, Reason]:
    """Return the options of the enum's values by reason, as in ``google.rpc.ErrorInfo``; skip values without it."""
    options = {value.name: value.GetOptions() for value in enum.values}
    return {
        without_prefix(name, enum.name): _reason(option.Extensions[restmap_pb2.reason])
        for name, option in options.items()
        if option.HasExtension(restmap_pb2.reason)
    }


def without_prefix(value: str, enum: str) -> str:
    """Return the name of an enum value without its prefix: ``X`` for ``MY_CAUSE_X`` of the enum ``MyCause``.

    Return the whole name if it does not have the prefix.
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
