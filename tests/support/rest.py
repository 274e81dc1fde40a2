"""Requests to our REST API over a plain socket, and assertions on its responses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import wire
from tests.support.programs import PATIENCE
from tests.support.wire import OUR_IDS, Answer, Json, read_answer

_CONTRACT = Path(__file__).parents[1] / "contract"
DOCUMENTED_CODES = frozenset(
    entry["code"] for entry in json.loads((_CONTRACT / "error_codes.json").read_text(encoding="utf-8"))
)
_OUR_CODE = re.compile(r"BackupSharing\.\d{4}")

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


def example(name: str) -> Json:
    """Return a body from the contract's examples."""
    return json.loads((_CONTRACT / "examples" / f"{name}.json").read_bytes())


def assert_failure(answer: Answer, status: int, code: str, *said: str) -> None:
    """Assert a failure in the standard shape, with a documented code and without leaked internals."""
    wire.assert_failure(answer, status, code, *said, ids=OUR_IDS)
    assert code in DOCUMENTED_CODES or _OUR_CODE.fullmatch(code)
    assert_leaks_nothing(answer)


def assert_leaks_nothing(answer: Answer) -> None:
    """Assert that a response contains no code, SQL or path of ours."""
    for trace in (b"Traceback", b".py", b"SELECT", b"INSERT", b"sqlite", b"site-packages", b"grpc_status", b"0x"):
        assert trace not in answer.body


def assert_success(answer: Answer) -> Json:
    """Assert a success with JSON; return the JSON."""
    assert answer.status == 200, answer
    assert answer.headers.getall("Content-Type") == ["application/json"]
    OUR_IDS.of(answer)
    return answer.json


class Rest:
    """Client of one gateway; every request uses a new connection, as the documented client does."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def call(
        self,
        method: str,
        target: str,
        *,
        token: str = "",
        body: bytes | str | dict[str, Json] | None = None,
        headers: Headers = (),
    ) -> Answer:
        """Send a request; a body is JSON unless the headers say otherwise."""
        given = list(headers.items() if isinstance(headers, Mapping) else headers)
        names = {name.lower() for name, _ in given}
        if token:
            given.append(("X-Auth-Token", token))
        payload = _bytes(body)
        if payload is not None:
            if "content-type" not in names:
                given.append(("Content-Type", "application/json"))
            given.append(("Content-Length", str(len(payload))))
        if "host" not in names:
            given.append(("Host", self.address))
        lines = [f"{method} {target} HTTP/1.1", "Connection: close", *(f"{name}: {value}" for name, value in given)]
        head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
        return await self.exchange(head + (payload or b""), is_head=method == "HEAD")

    async def exchange(self, sent: bytes, *, is_head: bool = False) -> Answer:
        """Send bytes; the gateway must reply with exactly one complete response."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await self.connect()
            try:
                writer.write(sent)
                answer = await read_answer(reader, is_head=is_head)
                # A gateway that closes before it has read everything resets the connection after its response.
                with contextlib.suppress(OSError):
                    writer.write_eof()
                    assert await reader.read() == b""
            finally:
                writer.close()
        return answer

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self.address.rpartition(":")
        return await asyncio.open_connection(host, int(port))


def _bytes(body: bytes | str | dict[str, Json] | None) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
