"""The descriptions of an API, made while the gateway serves calls already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import structlog
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from restmap_gateway.json_map import dumps
from restmap_gateway.openapi import describe
from restmap_gateway.openapi.docs_page import PATHS, pages
from restmap_gateway.schema.schema import Schema
from restmap_gateway.transcode.pages import Page

_FILE = b"\x0a"
"""Tag of the field ``FileDescriptorSet.file``."""


class Descriptions:
    """Makes the descriptions in a thread, because those of a large API take longer than everything else at start."""

    def __init__(self, make: Callable[[], Mapping[str, Page]]) -> None:
        """Take the function that makes all pages, by path."""
        self._make = make
        self._making: Future[Mapping[str, Page]] | None = None

    @property
    def pages(self) -> Mapping[str, Callable[[], Page]]:
        """Return functions that return the pages, by path; they wait until the pages are made."""
        return {path: partial(self._page, path) for path in PATHS}

    def start(self) -> None:
        """Begin to make the pages; a failure is logged, and raised by the functions in `pages`."""
        self._start()

    def _start(self) -> Future[Mapping[str, Page]]:
        if self._making is None:
            thread = ThreadPoolExecutor(1, "descriptions")
            self._making = thread.submit(_logged, self._make)
            thread.shutdown(wait=False)
            del self._make  # it holds the files of the API, which take much memory
        return self._making

    def _page(self, path: str) -> Page:
        return self._start().result()[path]


def describe_all(schema: Schema, version: str | None, server_url: str | None) -> Mapping[str, Page]:
    """Return the pages of an API, by path; the arguments are those of `describe`."""
    description = dumps(describe(schema, version=version, server_url=server_url))
    return pages(description, _serialized(schema.files))


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


def _logged(make: Callable[[], Mapping[str, Page]]) -> Mapping[str, Page]:
    try:
        return make()
    except Exception:
        structlog.get_logger("gateway").exception("cannot describe the API")
        raise
