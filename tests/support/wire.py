"""HTTP/1.1 over a plain socket: tests control the exact bytes sent and see the exact bytes received."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from multidict import CIMultiDict

from tests.support.programs import PATIENCE

_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

REQUEST_ID = re.compile(f"wx-{_UUID}")
"""Matches a request id of the foreign service."""

Json = Any
"""Parsed JSON as Python objects."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers of a response."""

    version: str
    status: int
    headers: CIMultiDict[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """Response to one request."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Json:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Json]:
        """Return the error object of a failure."""
        found: dict[str, Json] = self.json["error"]
        return found

    @property
    def request_id(self) -> str:
        """Return the request id of our service; empty without one."""
        return self.headers.get("X-Openstack-Request-Id", "")


@dataclass(frozen=True, slots=True)
class IdForm:
    """Header and format of the request ids of a service."""

    header: str
    pattern: re.Pattern[str]

    def of(self, answer: Answer) -> str:
        """Return the request id of a response; assert that it is there and well-formed."""
        found = answer.headers.getall(self.header)
        assert len(found) == 1, answer.headers
        assert self.pattern.fullmatch(found[0]), answer.headers
        return found[0]


FOREIGN_IDS = IdForm("X-Weather-Id", REQUEST_ID)
OUR_IDS = IdForm("X-Openstack-Request-Id", re.compile(f"req-{_UUID}"))


def assert_failure(answer: Answer, status: int, code: str, *said: str, ids: IdForm = FOREIGN_IDS) -> None:
    """Assert a failure in the standard shape whose message contains these texts, with an id of this form."""
    assert answer.status == status, answer
    assert answer.headers.getall("Content-Type") == ["application/json"]
    assert_error(answer.json, code, *said)
    assert answer.error["request_id"] == ids.of(answer)


def assert_error(body: Json, code: str, *said: str) -> None:
    """Assert that the JSON is a failure in the standard shape."""
    assert list(body) == ["error"]
    assert list(body["error"])[:2] == ["code", "message"]
    assert set(body["error"]) <= {"code", "message", "reason", "details", "request_id"}
    assert body["error"]["code"] == code, body
    for text in said:
        assert text in body["error"]["message"]
    for trace in ("Traceback", ".py", "site-packages", "127.0.0.1", "0x"):
        assert trace not in json.dumps(body)


class Connection:
    """Connection to a gateway; every wait is limited to `PATIENCE` seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, sent: bytes) -> None:
        self._writer.write(sent)

    async def head(self, before: bytes = b"") -> Head:
        """Read the next status line with its headers; ``before`` is what was read of it already."""
        async with asyncio.timeout(PATIENCE):
            return await read_head(self._reader, before)

    async def chunk(self) -> bytes:
        """Read the next chunk of a chunked body; the last chunk is empty."""
        async with asyncio.timeout(PATIENCE):
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            return (await self._reader.readexactly(size + 2))[:-2]

    async def answer(self, *, is_head: bool = False) -> Answer:
        """Read the next complete response."""
        head = await self.head()
        if not is_head and "Transfer-Encoding" in head.headers:
            return Answer(head.status, head.headers, await self._chunks(head))
        async with asyncio.timeout(PATIENCE):
            return await read_body(self._reader, head, is_head=is_head)

    async def ended(self) -> bytes:
        """Read until the gateway closes the connection."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""

    def half_close(self) -> None:
        """Close the sending side only, as ``nc -N`` does after its input."""
        self._writer.write_eof()

    async def bytes(self, count: int) -> bytes:
        """Read exactly this many bytes."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readexactly(count)

    def close(self) -> None:
        self._writer.close()

    async def _chunks(self, head: Head) -> bytes:
        assert head.headers["Transfer-Encoding"] == "chunked"
        assert "Content-Length" not in head.headers
        chunks = []
        while chunk := await self.chunk():
            chunks.append(chunk)
        return b"".join(chunks)


async def read_head(reader: asyncio.StreamReader, before: bytes = b"") -> Head:
    """Read the next status line with its headers; ``before`` is what was read of it already."""
    status_line, *lines = (before + await reader.readuntil(b"\r\n\r\n")).decode("ascii").splitlines()[:-1]
    fields = (line.partition(":") for line in lines)
    version, status, *_ = status_line.split(" ")
    return Head(version, int(status), CIMultiDict((name, value.strip()) for name, _, value in fields))


async def read_body(reader: asyncio.StreamReader, head: Head, *, is_head: bool = False) -> Answer:
    """Read the body of a response with a Content-Length."""
    assert is_head or "Transfer-Encoding" not in head.headers
    body = b"" if is_head else await reader.readexactly(int(head.headers["Content-Length"]))
    return Answer(head.status, head.headers, body)


async def read_answer(reader: asyncio.StreamReader, *, is_head: bool = False) -> Answer:
    """Read the next response; its body must have a Content-Length."""
    return await read_body(reader, await read_head(reader), is_head=is_head)


def head_of(method: str, target: str, *lines: str, version: str = "1.1") -> bytes:
    """Return the bytes of a request up to its body."""
    text = "\r\n".join([f"{method} {target} HTTP/{version}", "Host: gateway.test", *lines, "", ""])
    return text.encode("utf-8", "surrogateescape")


def get(target: str, *lines: str) -> bytes:
    """Return the bytes of a GET request."""
    return head_of("GET", target, *lines)


def post(target: str, body: bytes, *lines: str) -> bytes:
    """Return the bytes of a POST request with a JSON body."""
    return head_of("POST", target, "Content-Type: application/json", f"Content-Length: {len(body)}", *lines) + body


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Connection]:
    """Open a connection that closes when the context exits."""
    host, _, port = address.rpartition(":")
    connection = Connection(*await asyncio.open_connection(host, int(port)))
    try:
        yield connection
    finally:
        connection.close()


async def exchange(address: str, sent: bytes) -> Answer:
    """Send bytes on a new connection; return the only response."""
    async with connected(address) as connection:
        connection.send(sent)
        return await connection.answer(is_head=sent.startswith(b"HEAD "))
