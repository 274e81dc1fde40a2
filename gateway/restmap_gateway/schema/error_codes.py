"""Codes in the error bodies of a descriptor set: the file options ``failure_codes`` and ``error_domains``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import EnumDescriptor

from restmap.reasons import without_prefix
from restmap.v1 import restmap_pb2
from restmap_gateway.schema.descriptor_set import DescriptorSet, Problem
from restmap_gateway.schema.restmap_options import of_file, of_reason


@dataclass(frozen=True, slots=True)
class ReasonMapping:
    """REST mapping of one reason of an ``ErrorInfo``."""

    code: str
    """The ``code`` of the error body; empty if the proto sets none."""
    http_status: int | None
    """HTTP status, 400 to 599; None: the status of the gRPC code."""
    nothing_done: bool = False
    """Whether the call changed nothing and will not change anything later."""


def read_failure_codes(descriptors: DescriptorSet, problems: list[Problem]) -> restmap_pb2.FailureCodes | None:
    """Return the codes of failures without a known reason; add a second file that sets them to the problems."""
    found: restmap_pb2.FailureCodes | None = None
    first = ""
    for file in descriptors.files:
        mapping = of_file(file)
        if not mapping.HasField("failure_codes"):
            continue
        if found is not None:
            problems.append(Problem(f"sets failure_codes, as {first} does already", file.name))
        else:
            found, first = mapping.failure_codes, file.name
    return found


def read_reasons(descriptors: DescriptorSet, problems: list[Problem]) -> Mapping[str, Mapping[str, ReasonMapping]]:
    """Return the reasons by domain; their names lack the prefix of the enum.

    An enum that is not in the set, and a second enum for a domain, are added to the problems.
    """
    reasons: dict[str, Mapping[str, ReasonMapping]] = {}
    enum_names: dict[str, str] = {}
    for file in descriptors.files:
        for entry in of_file(file).error_domains:
            existing = enum_names.setdefault(entry.domain, entry.reason_enum)
            if entry.domain in reasons:
                text = f"ties the domain {entry.domain!r} to {entry.reason_enum}, it is tied to {existing} already"
                problems.append(Problem(text, file.name))
                continue
            try:
                reasons[entry.domain] = _of_enum(descriptors.pool.FindEnumTypeByName(entry.reason_enum))
            except KeyError:
                reasons[entry.domain] = {}
                text = f"the reason enum {entry.reason_enum!r} of the domain {entry.domain!r} is not in the set"
                problems.append(Problem(text, file.name))
    return reasons


def _of_enum(enum: EnumDescriptor) -> Mapping[str, ReasonMapping]:
    mapped: dict[str, ReasonMapping] = {}
    for value in enum.values:
        option = of_reason(value)
        name = without_prefix(value.name, enum.name)
        mapped[name] = ReasonMapping(option.code, option.http_status or None, option.nothing_done)
    return mapped
