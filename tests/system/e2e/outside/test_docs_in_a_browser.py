"""The page at /docs in a real browser, which shows what the page loads and which requests its policy blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.browser import CHROMIUM, Browser
from tests.support.ports import free_address
from tests.support.programs import Programs
from tests.support.system import Project, System

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"), pytest.mark.outside]

CALLS = 7
COUNT = "#operations-BackupSharingService-BackupSharingService_CountSharings"


@asynccontextmanager
async def page(address: str, folder: Path) -> AsyncIterator[Browser]:
    """Open the docs page of the gateway at an address."""
    browser = Browser(folder / "profile")
    try:
        await browser.open(f"http://{address}/docs")
        await browser.until(f"document.querySelectorAll('.opblock').length === {CALLS}")
        yield browser
    finally:
        await browser.close()


@pytest.fixture
async def browser(system: System, tmp_path: Path) -> AsyncIterator[Browser]:
    """Browser on the docs page of the shared gateway."""
    async with page(system.rest.address, tmp_path) as browser:
        yield browser


async def count(browser: Browser, project: Project) -> str:
    """Try the count call on the page; return the status that the page shows."""
    await browser.click(f"{COUNT} .opblock-summary-control")
    await browser.click(f"{COUNT} .try-out__btn")
    await browser.write(f"{COUNT} tr[data-param-name=project_id] input", project.id)
    await browser.click(f"{COUNT} .execute")
    status = ".live-responses-table tr.response .response-col_status"
    return str(await browser.until(f"document.querySelector('{COUNT} {status}')?.firstChild.textContent")).strip()


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
async def test_the_page_fits_any_screen(browser: Browser, width: int, tmp_path: Path) -> None:
    await browser.command(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 1000
    )
    await browser.picture(tmp_path / "docs.png", whole=True)  # for manual inspection; pytest keeps it for some runs
    assert await browser.run("document.documentElement.scrollWidth") <= width
    description = "document.querySelector('.opblock-tag small').getBoundingClientRect()"
    assert await browser.run(f"{description}.width") > min(width * 0.6, 600)
    assert await browser.run(f"{description}.height") < 500


async def test_without_a_token_a_call_is_401_on_the_page(browser: Browser, giver: Project) -> None:
    assert await count(browser, giver) == "401"


async def test_with_a_token_a_call_is_really_made_and_its_answer_shown(
    browser: Browser, giver: Project, tmp_path: Path
) -> None:
    await browser.click(".auth-wrapper .authorize")
    await browser.write(".modal-ux #api_key_value", giver.token)
    await browser.click(".modal-ux .auth-btn-wrapper .authorize")
    await browser.click(".modal-ux .btn-done")
    assert await count(browser, giver) == "200"
    await browser.picture(tmp_path / "docs.png", whole=True)  # for manual inspection; pytest keeps it for some runs
    shown = await browser.run(f"document.querySelector('{COUNT} .live-responses-table').innerText")
    assert '"count": 0' in shown
    assert "x-openstack-request-id: req-" in shown


async def test_the_page_asks_nobody_else_and_obeys_its_policy(browser: Browser, system: System, giver: Project) -> None:
    await count(browser, giver)
    asked = {urlsplit(sent["request"]["url"]) for sent in browser.events_of("Network.requestWillBeSent")}
    assert {url.netloc for url in asked if url.scheme != "data"} == {system.rest.address}
    assert [entry for entry in browser.events_of("Log.entryAdded") if entry["entry"]["source"] != "network"] == []
    assert browser.events_of("Runtime.exceptionThrown") == []


async def test_the_page_calls_its_origin_whatever_is_published(
    system: System, giver: Project, programs: Programs, tmp_path: Path
) -> None:
    address = free_address()
    programs.gateway(address, system.grpc_address, "--public-url", "https://vbs.example.com/api")
    async with page(address, tmp_path) as browser:
        assert await count(browser, giver) == "401"
