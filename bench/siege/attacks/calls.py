"""gRPC calls, as generated stubs would make them: too many, too large, or made up."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import secrets
from collections.abc import Callable, Sequence

import grpc

from backupsharing.v2 import backup_sharing_pb2 as pb
from bench.siege.attacks.connections import SHARE
from bench.siege.cast import ATTACKER, FLOODED_BACKUPS, MEMBER_TOKEN, Budget, Target

LIST = "/backupsharing.v2.BackupSharingService/ListSharings"
HEALTH = "/grpc.health.v1.Health/Check"
_FRAMES = 33
"""Bytes around a message where the headers are as before: a few indexes, two frames, gRPC's prefix."""
_AS_MEMBER = (("x-auth-token", MEMBER_TOKEN),)
_SORT_KEYS = ("created_at", "name", "size")


async def health(target: Target, budget: Budget) -> None:
    """Two thousand checks at once, again and again."""
    await _flood(target, budget, HEALTH, lambda _: b"", budget.scaled(2000), ())


async def shares(target: Target, budget: Budget) -> None:
    """One project shares as fast as it can."""

    def share(number: int) -> bytes:
        shared = pb.BackupRecipients(
            to_project_ids=[secrets.token_hex(16)], backup_id=FLOODED_BACKUPS[number % len(FLOODED_BACKUPS)]
        )
        return pb.ShareBackupRequest(project_id=ATTACKER, shared=shared).SerializeToString()

    await _flood(target, budget, SHARE, share, 300, _AS_MEMBER)


async def page_tokens(target: Target, budget: Budget) -> None:
    """Tokens of pages that nobody gave: real ones in which another value stands, as text where a number belongs."""
    made_up: list[tuple[str, str]] = []
    async with grpc.aio.insecure_channel(target.grpc) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(LIST)
        for key in _SORT_KEYS:
            answer = await method(_page(key, ""), metadata=_AS_MEMBER)
            given = pb.ListSharingsResponse.FromString(answer).next_page_token
            made_up += [(key, token) for token in _altered(given)]

    def page(number: int) -> bytes:
        return _page(*made_up[number % len(made_up)])

    await _flood(target, budget, LIST, page, 4, _AS_MEMBER)


def _page(key: str, token: str) -> bytes:
    return pb.ListSharingsRequest(project_id=ATTACKER, limit=1, sort_key=key, page_token=token).SerializeToString()


def _altered(token: str) -> list[str]:
    """Tokens as the given one, with other values where it can be read; and such as are none at all."""
    others = ["", "A" * 4000, token[:-2], token.swapcase()]
    try:
        read = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError:
        return others
    values: Sequence[object] = ("text", 1, 2**62, -1, None, 1.5, True, [], "\0")
    made = ([*read[:at], value, *read[at + 1 :]] for at, value in itertools.product(range(len(read)), values))
    return [*others, *(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in made)]


async def large_refusal(target: Target, budget: Budget) -> None:
    """Calls that are refused for their size, full of what a log has to escape."""
    shared = pb.BackupRecipients(to_project_ids=["\x01" * 1000] * 4000, backup_id="\x01" * 50_000)
    wanted = pb.ShareBackupRequest(project_id=ATTACKER, shared=shared).SerializeToString()
    await _flood(target, budget, SHARE, lambda _: wanted, 1, _AS_MEMBER)


async def _flood(
    target: Target,
    budget: Budget,
    path: str,
    request: Callable[[int], bytes],
    callers: int,
    metadata: tuple[tuple[str, str], ...],
) -> None:
    """Make calls, so many at once, until the budget is used up."""
    numbers = itertools.count()
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

    async def caller(method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> None:
        while not budget.is_over:
            serialized = request(next(numbers))
            budget.sent += len(serialized) + _FRAMES
            try:
                await method(serialized, metadata=metadata, timeout=20)
                budget.tally["answered"] += 1
            except grpc.aio.AioRpcError as failure:
                budget.tally[failure.code().name] += 1

    async with grpc.aio.insecure_channel(target.grpc, options=options) as channel, asyncio.TaskGroup() as group:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        for _ in range(callers):
            group.create_task(caller(method))
