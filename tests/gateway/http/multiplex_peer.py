"""Server side of `multiplex.v1` streams, controlled frame by frame."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
import pytest

from multiplex.v1 import multiplex_pb2 as pb
from restmap_gateway.upstream.multiplex import METHOD
from tests.gateway.http.foreign import Context, ForeignServer
from tests.support.programs import PATIENCE


class Peer(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library has no types
    """Server side of the streams: a test reads and writes single frames."""

    def __init__(self) -> None:
        self.streams: list[Context] = []
        self.opened: asyncio.Queue[Context] = asyncio.Queue()
        self.frames: asyncio.Queue[pb.MultiplexRequest] = asyncio.Queue()
        self.end = asyncio.Event()
        self.over = asyncio.Event()
        self.sizes: list[int] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.stream_stream_rpc_method_handler(self._serve) if details.method == METHOD else None

    async def stream(self) -> Context:
        async with asyncio.timeout(PATIENCE):
            return await self.opened.get()

    async def calls(self, number: int) -> Sequence[pb.Call]:
        found: list[pb.Call] = []
        async with asyncio.timeout(PATIENCE):
            while len(found) < number:
                found += (await self.frames.get()).calls
        return found

    async def cancelled(self) -> int:
        async with asyncio.timeout(PATIENCE):
            while not (ids := (await self.frames.get()).cancelled_ids):
                pass
        return ids[0]

    async def _serve(self, _: object, context: Context) -> None:
        self.streams.append(context)
        self.opened.put_nowait(context)
        ending = asyncio.create_task(self.end.wait())
        reading = asyncio.create_task(self._read(context))
        try:
            await asyncio.wait((ending, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            reading.cancel()
        if self.end.is_set():
            self.end.clear()
            self.over.set()
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")

    async def _read(self, context: Context) -> None:
        while isinstance(frame := await context.read(), bytes):
            self.sizes.append(len(frame))
            self.frames.put_nowait(pb.MultiplexRequest.FromString(frame))


def peer_beside(foreign: ForeignServer, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """Add multiplex streams to the foreign server for one test."""
    peer, service = Peer(), foreign.service
    monkeypatch.setattr(ForeignServer, "service", lambda self, details: peer.service(details) or service(details))
    return peer
