"""Making the descriptions while the gateway serves calls already."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

import pytest
import structlog
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from restmap_gateway.openapi.pages.descriptions import Descriptions, describe_all
from restmap_gateway.openapi.pages.docs_page import PATHS, pages
from restmap_gateway.schema.schema import load
from restmap_gateway.transcode.pages import Page
from tests.support.protoc import DOCUMENTED, compiled_texts

SHOP = """
syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
message Item { string id = 1; }
service Shop { rpc Get(Item) returns (Item) { option (google.api.http) = { get: "/x" }; } }
"""


DESCRIPTION = b'{"openapi": "3.1.0", "info": {"title": "Weather", "version": "1"}, "paths": {}}'


def made() -> Mapping[str, Page]:
    return {**pages(DESCRIPTION, b"protos"), "/": Page("text/html", b"front")}


def test_the_paths_are_those_of_all_pages() -> None:
    assert set(made()) == {*PATHS, "/"}
    assert set(Descriptions(made).pages) == {*PATHS, "/openapi-3.0.json"}


async def test_a_page_waits_until_it_is_made() -> None:
    may_end, threads = threading.Event(), list[threading.Thread]()

    def make() -> Mapping[str, Page]:
        threads.append(threading.current_thread())
        assert may_end.wait(30)
        return made()

    descriptions = Descriptions(make)
    descriptions.start()
    may_end.set()
    assert [(await descriptions.pages[path]()).body for path in PATHS] == [made()[path].body for path in PATHS]
    assert (await descriptions.front()).body == b"front"
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_a_page_that_is_asked_for_early_starts_the_work() -> None:
    assert (await Descriptions(made).pages["/protos.binpb"]()).body == b"protos"


async def test_a_client_that_is_gone_leaves_pages_to_others() -> None:
    may_end = threading.Event()

    def make() -> Mapping[str, Page]:
        assert may_end.wait(30)
        return made()

    descriptions = Descriptions(make)
    gone = asyncio.ensure_future(descriptions.pages["/docs"]())
    await asyncio.sleep(0)
    gone.cancel()
    may_end.set()
    assert (await descriptions.pages["/docs"]()).body == made()["/docs"].body


async def test_the_older_description_is_made_once_when_asked() -> None:
    older = Descriptions(made).pages["/openapi-3.0.json"]
    first = await older()
    assert b'"openapi":"3.0.' in first.body.replace(b" ", b"")
    assert await older() is first


def test_the_protos_are_a_set_of_all_files() -> None:
    image = compiled_texts({"shop.proto": SHOP}, *DOCUMENTED)
    files = FileDescriptorSet.FromString(image)
    served = describe_all(load(image), None, None, "/healthz")["/protos.binpb"].body
    assert served == files.SerializeToString()
    assert max(len(file.SerializeToString()) for file in files.file) > 1 << 14


async def test_descriptions_that_cannot_be_made_are_logged() -> None:
    def make() -> Mapping[str, Page]:
        raise ZeroDivisionError

    with structlog.testing.capture_logs() as lines:
        descriptions = Descriptions(make)
        descriptions.start()
        with pytest.raises(ZeroDivisionError):
            await descriptions.pages["/docs"]()
    assert [line["event"] for line in lines] == ["cannot describe the API"]
