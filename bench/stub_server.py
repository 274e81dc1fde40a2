"""The least a server can do: the same messages, options and loop as ours, no rules and no store.

It parses each request and gives one answer to all, by itself or in a frame of many.
"""

from __future__ import annotations

import asyncio
import os
import sys

import grpc
import uvloop

from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2 import sharing_pb2
from bench.job import OWNER, STUB_ID, STUB_RECIPIENT, backup_id
from multiplex.v1 import multiplex_pb2

# The options of server/backup_sharing/rpc/options.py that change the figures.
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_metadata_size", 128 * 1024),
    ("grpc.absolute_max_metadata_size", 128 * 1024),
)
_MOST_CALLS = 4096

Context = grpc.aio.ServicerContext[multiplex_pb2.MultiplexRequest, multiplex_pb2.MultiplexResponse]


def _answer() -> pb.ShareBackupResponse:
    sharing = sharing_pb2.Sharing(
        id=STUB_ID, backup_id=backup_id(0), from_project_id=OWNER, to_project_id=STUB_RECIPIENT
    )
    sharing.created_at.FromMicroseconds(1_790_000_000_123_456)
    return pb.ShareBackupResponse(shared=[sharing])


class StubSharing:
    """Answers every share alike."""

    def __init__(self) -> None:
        self._response = _answer()

    def handler(self) -> grpc.GenericRpcHandler:
        """What generated code makes of a servicer with this one method."""
        share = grpc.unary_unary_rpc_method_handler(
            self._share, pb.ShareBackupRequest.FromString, pb.ShareBackupResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler("backupsharing.v2.BackupSharingService", {"ShareBackup": share})

    async def _share(self, request: pb.ShareBackupRequest, context: object) -> pb.ShareBackupResponse:
        return self._response


class StubMultiplex:
    """Answers each frame of calls with one frame of answers."""

    def __init__(self) -> None:
        self._response = _answer()

    def handler(self) -> grpc.GenericRpcHandler:
        """What generated code makes of a servicer."""
        multiplex = grpc.stream_stream_rpc_method_handler(
            self._multiplex,
            multiplex_pb2.MultiplexRequest.FromString,
            multiplex_pb2.MultiplexResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler("multiplex.v1.MultiplexService", {"Multiplex": multiplex})

    async def _multiplex(self, _: object, context: Context) -> None:
        await context.write(multiplex_pb2.MultiplexResponse(max_in_flight=_MOST_CALLS))
        while isinstance(frame := await context.read(), multiplex_pb2.MultiplexRequest):
            answers = [multiplex_pb2.Answer(id=call.id, response=self._respond(call.request)) for call in frame.calls]
            await context.write(multiplex_pb2.MultiplexResponse(answers=answers))

    def _respond(self, request: bytes) -> bytes:
        pb.ShareBackupRequest.FromString(request)
        return self._response.SerializeToString()


async def serve(address: str) -> None:
    """Serve until standard input closes."""
    server = grpc.aio.server(maximum_concurrent_rpcs=4 * _MOST_CALLS, options=_OPTIONS)
    server.add_generic_rpc_handlers((StubSharing().handler(), StubMultiplex().handler()))
    server.add_insecure_port(address)
    await server.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    if hasattr(os, "SCHED_BATCH"):  # as our server does
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    uvloop.run(serve(sys.argv[1]))
