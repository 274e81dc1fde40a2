"""Proxy between clients and the gateway that corrupts responses in one way, to check which clients notice."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import ClientSession, web

from tests.support.ports import free_address

Tampering = Callable[[Any], Any]
"""Function that corrupts the JSON of a response."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")
_HOP = {"connection", "content-length", "transfer-encoding", "keep-alive", "host"}


def renamed(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """Rename a member."""
    return _each(value, lambda member: {("toProjectId" if k == "to_project_id" else k): v for k, v in member.items()})


def without_null(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """Replace null by false."""
    return _each(value, lambda member: {k: (False if v is None else v) for k, v in member.items()})


def with_zone(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """Append a Z to times."""
    return _each(
        value, lambda m: {k: f"{v}Z" if isinstance(v, str) and _TIME.fullmatch(v) else v for k, v in m.items()}
    )


TAMPERINGS: Mapping[str, Tampering] = {"field": renamed, "null": without_null, "time": with_zone}


def _each(value: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:  # noqa: ANN401 -- JSON
    if isinstance(value, dict):
        return change({key: _each(member, change) for key, member in value.items()})
    if isinstance(value, list):
        return [_each(member, change) for member in value]
    return value


@contextmanager
def tampering(gateway: str, tampers: Tampering | None) -> Iterator[str]:
    """Yield the address for clients: the gateway's own, or a proxy's that corrupts responses."""
    if tampers is None:
        yield gateway
        return
    address, loop = free_address(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_serve(address, gateway, tampers), loop).result()
    try:
        yield address
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(address: str, gateway: str, tampers: Tampering) -> web.AppRunner:
    async def pass_on(request: web.Request) -> web.Response:
        kept = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        async with (
            ClientSession(auto_decompress=True) as session,
            session.request(
                request.method, f"http://{gateway}{request.raw_path}", data=await request.read(), headers=kept
            ) as answer,
        ):
            body = await answer.read()
            if answer.content_type == "application/json" and answer.status < 400:
                body = json.dumps(tampers(json.loads(body))).encode()
            reported = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            reported.pop("Content-Encoding", None)
            return web.Response(status=answer.status, body=body, headers=reported)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pass_on)
    runner = web.AppRunner(app)
    await runner.setup()
    host, _, port = address.rpartition(":")
    await web.TCPSite(runner, host, int(port)).start()
    return runner
