"""Spans of gRPC calls, with names and attributes by OpenTelemetry's semantic conventions."""

from __future__ import annotations

from typing import Final, Self

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


class outgoing:  # noqa: N801 - reads like a function; a generator would cost each call 2 µs more
    """A call of ``/package.Service/Method``, for the time of a ``with`` block, in a span inside the current one."""

    __slots__ = ("_method", "_span", "code")

    def __init__(self, method: str) -> None:
        self._method = method
        self.code = CANCELLED
        """Number and name of the status code; set it when the call ends."""

    def __enter__(self) -> Self:
        span = current()
        self._span = span.child(name_of(self._method), Kind.CLIENT) if span is not None and span.is_recording else span
        return self

    def __exit__(self, *_: object) -> None:
        if self._span is not None and self._span.is_recording:
            describe(self._span, self._method, *self.code, is_server=False)
            self._span.end()

    def passed_on(self, metadata: Metadata) -> Metadata:
        """Return the metadata of the call, with its place in the trace."""
        return metadata if self._span is None else self._span.passed_on(metadata)
