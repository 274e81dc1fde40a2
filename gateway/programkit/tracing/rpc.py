"""Spans of gRPC calls, with names and attributes by OpenTelemetry's semantic conventions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from programkit.tracing.spans import Kind, Metadata, Span, current

_ERRORS_OF_SERVER: Final = frozenset({2, 4, 12, 13, 14, 15})
"""Codes with which a server span has failed: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and
DATA_LOSS. Others are the caller's mistakes. A client span has failed with any code but OK."""

CANCELLED: Final = (1, "CANCELLED")
"""Number and name of the code of a call that was cancelled."""


def name_of(method: str) -> str:
    """Return the name of a call's span for ``/package.Service/Method``."""
    return method.removeprefix("/")


def describe(span: Span, method: str, code: int, code_name: str, *, is_server: bool) -> None:
    """Add the attributes of a call that has ended with a status code, given by number and name."""
    service, _, name = method.removeprefix("/").partition("/")
    span.describe({"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, "rpc.grpc.status_code": code})
    if code in _ERRORS_OF_SERVER or (code and not is_server):
        span.fail(code_name)


class OutgoingCall:
    """A call to a server; set its code when it ends."""

    __slots__ = ("_span", "code")

    def __init__(self, span: Span | None) -> None:
        self._span = span
        self.code = CANCELLED
        """Number and name of the status code."""

    def passed_on(self, metadata: Metadata) -> Metadata:
        """Return the metadata of the call, with its place in the trace."""
        return metadata if self._span is None else self._span.passed_on(metadata)


@contextmanager
def outgoing(method: str) -> Iterator[OutgoingCall]:
    """Make a call of ``/package.Service/Method`` in a span inside the current one."""
    parent = current()
    if parent is None or not parent.is_recording:
        yield OutgoingCall(parent)
        return
    span = parent.child(name_of(method), Kind.CLIENT)
    call = OutgoingCall(span)
    try:
        yield call
    finally:
        describe(span, method, *call.code, is_server=False)
        span.end()
