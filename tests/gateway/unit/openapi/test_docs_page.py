"""Documentation pages: complete, safe, and without requests to other hosts."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping

import pytest
from aiohttp import ClientSession, web
from yarl import URL

from restmap_gateway.openapi.pages.docs_page import pages
from restmap_gateway.transcode.pages import Page

DESCRIPTION = json.dumps({"openapi": "3.1.0", "info": {"title": "Bread & <Butter>", "version": "1"}}).encode()
PROTOS = b"\x0a\x0d\x0a\x0bbread.proto"


@pytest.fixture(scope="module")
def served() -> Mapping[str, Page]:
    return pages(DESCRIPTION, PROTOS)


@pytest.fixture
async def url(served: Mapping[str, Page]) -> AsyncIterator[str]:
    """Serve the pages below a path, as behind a proxy; return their URL."""

    async def handle(request: web.BaseRequest) -> web.Response:
        page = served.get(request.path.removeprefix("/api"))
        if page is None:
            return web.Response(status=404)
        return web.Response(body=page.body, headers={"Content-Type": page.content_type, **page.headers})

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/api"
    await runner.cleanup()


def linked(page: str) -> list[str]:
    """Return the addresses that a browser loads for a page."""
    return re.findall(r'(?:src|href)="([^"]+)"', page)


def test_the_title_cannot_break_out_of_the_page(served: Mapping[str, Page]) -> None:
    assert b"<title>Bread &amp; &lt;Butter&gt;</title>" in served["/docs"].body


def test_the_page_has_no_script_and_no_style_of_its_own(served: Mapping[str, Page]) -> None:
    page = served["/docs"].body.decode()
    assert re.findall(r"<script[^>]*>([^<]+)</script>|<style| style=| on[a-z]+=|javascript:", page) == []


def test_the_policy_lets_nothing_in_but_what_comes_from_here(served: Mapping[str, Page]) -> None:
    policy = dict(rule.split(" ", 1) for rule in served["/docs"].headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_no_page_is_taken_for_another_type_than_its_own(served: Mapping[str, Page]) -> None:
    assert {page.headers["X-Content-Type-Options"] for page in served.values()} == {"nosniff"}


def test_the_description_is_served_as_it_is(served: Mapping[str, Page]) -> None:
    assert (served["/openapi.json"].body, served["/openapi.json"].content_type) == (DESCRIPTION, "application/json")


def test_the_protos_are_served_as_they_are(served: Mapping[str, Page]) -> None:
    page = served["/protos.binpb"]
    assert (page.body, page.content_type) == (PROTOS, "application/x-protobuf")


def test_the_page_shows_the_description_that_is_served(served: Mapping[str, Page]) -> None:
    assert b'new URL("openapi.json", document.baseURI)' in served["/docs/start.js"].body


def test_nothing_is_checked_by_a_service_elsewhere(served: Mapping[str, Page]) -> None:
    assert b"validatorUrl: null" in served["/docs/start.js"].body


def test_swagger_ui_is_one_that_knows_openapi_3_1(served: Mapping[str, Page]) -> None:
    version = re.search(rb'PACKAGE_VERSION:"(\d+)\.', served["/docs/swagger-ui-bundle.js"].body)
    assert version is not None
    assert int(version[1]) >= 5


async def test_everything_the_page_loads_is_there_below_any_path(url: str) -> None:
    async with ClientSession() as session:
        async with session.get(f"{url}/docs") as answer:
            links = linked(await answer.text())
        found = {}
        for link in links:
            async with session.get(answer.url.join(URL(link))) as asset:
                found[link] = (asset.status, asset.content_type)
    assert found == {
        "docs/favicon-32x32.png": (200, "image/png"),
        "docs/swagger-ui.css": (200, "text/css"),
        "docs/start.css": (200, "text/css"),
        "openapi.json": (200, "application/json"),
        "docs/swagger-ui-bundle.js": (200, "text/javascript"),
        "docs/start.js": (200, "text/javascript"),
    }
