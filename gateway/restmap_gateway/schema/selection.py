"""Chooses the services of a descriptor set to serve."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from restmap_gateway.schema.descriptor_set import DescriptorSet, Problem


@dataclass(frozen=True, slots=True)
class Selection:
    """The annotated methods to serve, and the services that are not served."""

    methods: tuple[MethodDescriptor, ...]
    """Methods in the order of the files."""
    left_out: tuple[str, ...]
    """Full names of annotated services that the set only imports."""


def select(opened: DescriptorSet, wanted: Collection[str], problems: list[Problem]) -> Selection:
    """Return the annotated methods of the wanted services, or without any of all that are not only imported.

    A service is only imported if another file imports its file, and all files of its package are imported:
    ``google.longrunning.Operations`` in the set of another API. If that leaves nothing, all services are served.

    Wanted services that do not exist or have no annotation, and a set without any, are added to the problems.
    """
    services = {service.full_name: service for file in opened.files for service in file.services_by_name.values()}
    annotated = {name: found for name, service in services.items() if (found := _annotated(service))}
    for name in sorted(wanted):
        if name not in services:
            known = ", ".join(services) or "none"
            problems.append(Problem(f"there is no service {name!r} in the set, it has: {known}"))
        elif name not in annotated:
            problems.append(Problem("no method has a google.api.http annotation", services[name].file.name, name))
    if not wanted and not annotated:
        problems.append(Problem("no method of the set has a google.api.http annotation"))
    if wanted:
        return Selection(_methods(annotated, wanted), ())
    own = _own_packages(opened)
    served = [name for name in annotated if services[name].file.package in own] or list(annotated)
    return Selection(_methods(annotated, served), tuple(name for name in annotated if name not in served))


def _annotated(service: ServiceDescriptor) -> list[MethodDescriptor]:
    return [method for method in service.methods if method.GetOptions().HasExtension(annotations_pb2.http)]


def _methods(annotated: dict[str, list[MethodDescriptor]], served: Collection[str]) -> tuple[MethodDescriptor, ...]:
    return tuple(method for name, methods in annotated.items() if name in served for method in methods)


def _own_packages(opened: DescriptorSet) -> set[str]:
    """Return the packages of the files that no other file imports."""
    imported = {name for file in opened.protos for name in file.dependency}
    return {file.package for file in opened.files if file.name not in imported}
