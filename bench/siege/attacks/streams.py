"""The multiplexed stream as a caller may not use it: answers that are never read."""

from __future__ import annotations

import itertools

from backupsharing.v2 import backup_sharing_pb2 as pb
from bench.siege.attacks.connections import COUNT, MULTIPLEX
from bench.siege.attacks.http2 import Http2, hold, message
from bench.siege.cast import ATTACKER, READER_TOKEN, Budget, Target
from multiplex.v1 import multiplex_pb2

_LIST = "/backupsharing.v2.BackupSharingService/ListSharings"


async def no_token(target: Target, budget: Budget) -> None:
    """Calls without a token, a thousand a frame."""
    await _unread(target, budget, multiplex_pb2.Call(method=COUNT), 1000)


async def reader(target: Target, budget: Budget) -> None:
    """A reader's calls for large pages."""
    token = multiplex_pb2.Metadatum(key="x-auth-token", value=READER_TOKEN.encode())
    wanted = pb.ListSharingsRequest(project_id=ATTACKER, limit=20).SerializeToString()
    await _unread(target, budget, multiplex_pb2.Call(method=_LIST, request=wanted, metadata=[token]), 20)


async def _unread(target: Target, budget: Budget, call: multiplex_pb2.Call, at_once: int) -> None:
    connection = await Http2.open(target.grpc, budget)
    stream = await connection.begin(MULTIPLEX)
    for first in itertools.count(1, at_once):
        if budget.is_over:
            break
        frame = multiplex_pb2.MultiplexRequest(calls=[call] * at_once)
        for number, each in enumerate(frame.calls, first):
            each.id = number
        await connection.data(stream, message(frame.SerializeToString()))
    await hold(budget)
    connection.close()
