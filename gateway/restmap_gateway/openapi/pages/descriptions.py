"""The descriptions of an API, made while the gateway serves calls already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

import orjson
import structlog
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from restmap_gateway.json_map import dumps
from restmap_gateway.openapi import describe
from restmap_gateway.openapi.openapi30 import to_openapi_30
from restmap_gateway.openapi.pages.docs_page import (
    DESCRIPTION_PATH,
    OLDER_DESCRIPTION_PATH,
    PATHS,
    description_page,
    pages,
)
from restmap_gateway.openapi.pages.front_page import front_page
from restmap_gateway.schema.schema import Schema
from restmap_gateway.transcode.pages import MakePage, Page

FRONT_PATH: Final = "/"

T = TypeVar("T")

_FILE = b"\x0a"
"""Tag of the field ``FileDescriptorSet.file``."""


class Descriptions:
    """Makes the descriptions in a thread, because those of a large API take longer than everything else at start."""

    def __init__(self, make: Callable[[], Mapping[str, Page]]) -> None:
        """Take the function that makes all pages, by path."""
        self._make = make
        self._making: Future[Mapping[str, Page]] | None = None
        self._older: Future[Page] | None = None

    @property
    def pages(self) -> Mapping[str, MakePage]:
        """Return functions that return the pages, by path; they wait until the pages are made."""
        return {**{path: partial(self._page, path) for path in PATHS}, OLDER_DESCRIPTION_PATH: self._older_page}

    def start(self) -> None:
        """Begin to make the pages; a failure is logged, and raised by the functions in `pages`."""
        self._start()

    async def front(self) -> Page:
        """Return the page at ``/``; wait until it is made."""
        return await self._page(FRONT_PATH)

    async def _page(self, path: str) -> Page:
        return (await _result(self._start()))[path]

    async def _older_page(self) -> Page:
        # Made when a tool asks for it, because most gateways never need it.
        if self._older is None:
            newer = await self._page(DESCRIPTION_PATH)
            self._older = self._older or _in_thread(partial(_older_than, newer))
        return await _result(self._older)

    def _start(self) -> Future[Mapping[str, Page]]:
        if self._making is None:
            self._making = _in_thread(self._make)
            del self._make  # it holds the files of the API, which take much memory
        return self._making


def describe_all(schema: Schema, version: str | None, server_url: str | None, health_path: str) -> Mapping[str, Page]:
    """Return the pages of an API, by path.

    Args:
        schema: the API.
        version: version of the API; None: it is read from the protos.
        server_url: URL of this gateway; None: clients use the one that they have.
        health_path: path of the page that reports readiness.
    """
    description = dumps(describe(schema, version=version, server_url=server_url))
    return {**pages(description, _serialized(schema.files)), FRONT_PATH: front_page(description, health_path)}


def _older_than(newer: Page) -> Page:
    return description_page(dumps(to_openapi_30(orjson.loads(newer.body))))


def _in_thread(make: Callable[[], T]) -> Future[T]:
    thread = ThreadPoolExecutor(1, "descriptions")
    making = thread.submit(_logged, make)
    thread.shutdown(wait=False)
    return making


async def _result(making: Future[T]) -> T:
    return await asyncio.shield(asyncio.wrap_future(making))  # one client that is gone must not cancel it for others


def _serialized(files: Iterable[FileDescriptorProto]) -> bytes:
    """Return the files as a serialized ``FileDescriptorSet``, without the memory that one would take as a message."""
    pieces: list[bytes] = []
    for file in files:
        one = file.SerializeToString()
        pieces += (_FILE, _varint(len(one)), one)
    return b"".join(pieces)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*encoded, number))


def _logged(make: Callable[[], T]) -> T:
    try:
        return make()
    except Exception:
        structlog.get_logger("gateway").exception("cannot describe the API")
        raise
