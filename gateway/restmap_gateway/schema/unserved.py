"""Rules that cannot be served, and the errors in options that are the cause for some of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, MethodDescriptor

from restmap_gateway.schema.descriptor_set import DescriptorSet, Problem
from restmap_gateway.schema.http_rule import Template


@dataclass(frozen=True, slots=True)
class Unserved:
    """One rule of a method that cannot be served."""

    method: str
    """Full name of the method: ``package.Service.Method``."""
    rule: str
    """HTTP method and path template as written; empty if the annotation has none."""
    reason: str
    http_method: str = ""
    template: Template | None = None
    """Template of the paths that return 501; None if it cannot be parsed, or if another rule serves the paths."""


class FaultyOptions:
    """Finds the errors in options that make it impossible to serve a method."""

    def __init__(self, opened: DescriptorSet, problems: Iterable[Problem]) -> None:
        """Take the errors of a set, as `option_problems` yields them."""
        self._problems = tuple(problems)
        services = [service for file in opened.files for service in file.services_by_name.values()]
        self._methods = {method.full_name for service in services for method in service.methods}
        self._messages = {message.full_name for message in opened.messages()} if self._problems else set()
        self._files_with_services = {service.file.name for service in services}

    def of(self, method: MethodDescriptor) -> Iterator[str]:
        """Yield a description of each error that affects a method.

        Options of a method affect this method. Those of a message and of its fields affect the methods whose request or
        response contains the message. All others affect the services of their file, or every service if the file has
        none.
        """
        if not self._problems:
            return
        file, reached = method.containing_service.file.name, {one.full_name for one in _reached(method)}
        for problem in self._problems:
            message = self._message(problem.element)
            if problem.element in self._methods:
                is_affected = problem.element == method.full_name
            elif message:
                is_affected = message in reached
            else:
                is_affected = problem.file == file or problem.file not in self._files_with_services
            if is_affected:
                place = "" if problem.element == method.full_name else f"{problem.element or problem.file}: "
                yield f"{place}{problem.description}"

    def _message(self, element: str) -> str:
        """Return the name of a message, or of the message of a field; empty for other elements."""
        names = (element, element.rpartition(".")[0])
        return next((name for name in names if name in self._messages), "")


def _reached(method: MethodDescriptor) -> Iterable[Descriptor]:
    """Return the types of request and response, and of all messages inside them."""
    reached: dict[str, Descriptor] = {}
    waiting = [method.input_type, method.output_type]
    while waiting:
        message = waiting.pop()
        if message.full_name not in reached:
            reached[message.full_name] = message
            waiting += (field.message_type for field in message.fields if field.message_type is not None)
    return reached.values()
