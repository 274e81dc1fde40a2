"""Streams of a stub server: what each one sends, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as PackedMessage
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from backupsharing.client import AsyncWatch, Watch
from backupsharing.v2.backup_access_pb2 import (
    ListSharingEventsRequest,
    ListSharingEventsResponse,
    SharingEvent,
    WatchSharingsRequest,
    WatchSharingsResponse,
)
from tests.support.programs import PATIENCE
from tests.support.stub_server import DETAILS, WATCH, Context, StubServer

End = Callable[[Context], None]


def event(place: int, **members: Any) -> WatchSharingsResponse:  # noqa: ANN401 -- any members
    """Return a response with an event."""
    cursor = f"s:{place}"
    return WatchSharingsResponse(cursor=cursor, event=SharingEvent(cursor=cursor, kind="shared", **members))


def checkpoint(place: int) -> WatchSharingsResponse:
    return WatchSharingsResponse(cursor=f"s:{place}")


def fails(code: grpc.StatusCode, *details: Message) -> End:
    """Return the end of a stream with a failure."""
    packed = Status(code=code.value[0], message="broken")
    for detail in details:
        one = PackedMessage()
        one.Pack(detail)
        packed.details.append(one)

    def fail(context: Context) -> None:
        if details:
            context.set_trailing_metadata(((DETAILS, packed.SerializeToString()),))
        context.set_code(code)
        context.set_details("broken")

    return fail


def ends(context: Context) -> None:
    """End the stream without a failure."""


@dataclass
class Streams:
    """The streams of a stub server, in the order in which they are opened. The last one is held open."""

    stub: StubServer
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the caller has ended a stream that was held open."""
    held: threading.Event = field(default_factory=threading.Event)
    """Set when a stream has sent everything, and is held open."""
    _acts: list[tuple[tuple[WatchSharingsResponse | bytes, ...], End | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stub.answers(ListSharingEventsResponse(cursor="s:0").SerializeToString())
        self.stub.streams(self._run)

    def then(self, *responses: WatchSharingsResponse | bytes, end: End | None = None) -> Streams:
        """Add a stream with these responses. Without an end, it is held open."""
        self._acts.append((responses, end))
        return self

    @property
    def asked(self) -> list[str]:
        """The cursor that each call began with, ``beginning``, or ``newest`` for the question for the newest."""
        return [
            ("beginning" if (got := WatchSharingsRequest.FromString(seen.request)).from_beginning else got.cursor)
            if seen.method == WATCH
            else f"newest{ListSharingEventsRequest.FromString(seen.request).limit}"
            for seen in self.stub.seen
        ]

    def _run(self, request: bytes, context: Context) -> Iterator[bytes]:
        del request
        gone = threading.Event()
        context.add_callback(gone.set)
        responses, end = self._acts.pop(0) if self._acts else ((), None)
        # Not after the responses: gRPC leaves a generator whose caller has gone.
        if end is None and not context.add_callback(self.gone.set):
            self.gone.set()
        for response in responses:
            yield response if isinstance(response, bytes) else response.SerializeToString()
        if end is not None:
            end(context)
            return
        self.held.set()
        gone.wait(PATIENCE)


def taken(watch: Watch | AsyncWatch, count: int) -> Any:  # noqa: ANN401 -- the cursors of the events, or an awaitable
    """Return the cursors of the next events; then close the watch."""
    if isinstance(watch, AsyncWatch):
        return _taken(watch, count)
    with watch:
        return [next(watch).cursor for _ in range(count)]


async def _taken(watch: AsyncWatch, count: int) -> list[str]:
    async with watch:
        return [(await anext(watch)).cursor for _ in range(count)]
