"""Headless Chromium, controlled over its DevTools protocol: open pages, run scripts, take screenshots."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import threading
from collections import deque
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.programs import PATIENCE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""Path of Chromium. None: not installed."""

_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--window-size=1280,1600",
    "--remote-debugging-port=0",
)


class Browser:
    """Browser with one tab."""

    def __init__(self, folder: Path) -> None:
        """Start Chromium with its data in an empty folder; stop it with ``close``."""
        assert CHROMIUM is not None
        self._folder = folder
        self._process = subprocess.Popen(
            [CHROMIUM, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        # Read and discard the further output, so that Chromium never blocks on a full pipe.
        self._drain = threading.Thread(target=deque, args=(self._process.stderr, 0), daemon=True)
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []
        """Every event of the tab, in order."""
        self._stack = aiohttp.ClientSession()
        self._reader: asyncio.Task[None] | None = None

    async def open(self, url: str) -> None:
        """Connect to the tab and start loading a page."""
        async with asyncio.timeout(PATIENCE):
            port = await asyncio.to_thread(self._port)
        async with self._stack.get(f"http://127.0.0.1:{port}/json/list") as answer:
            tabs = await answer.json()
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        self._socket = await self._stack.ws_connect(address, max_msg_size=0)
        self._reader = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.command(f"{domain}.enable")
        await self.command("Page.navigate", url=url)

    async def command(self, method: str, **arguments: object) -> dict[str, Any]:
        """Send a DevTools command; return its result."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": arguments})
        async with asyncio.timeout(PATIENCE):
            return await self._answers[number]

    async def run(self, script: str) -> Any:  # noqa: ANN401 - a script may return any value
        """Run a script in the page; return its value, or the value of the promise that it returns."""
        found = await self.command("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, condition: str) -> Any:  # noqa: ANN401
        """Wait until a script in the page returns a truthy value; return that value, or True for an element."""
        watch = f"""new Promise((resolve) => {{
          const look = () => {{
            const found = {condition};
            if (found) {{ watcher.disconnect(); resolve(found instanceof Node || found); }}
          }};
          const watcher = new MutationObserver(look);
          watcher.observe(document, {{ childList: true, subtree: true, attributes: true, characterData: true }});
          look();
        }})"""
        async with asyncio.timeout(PATIENCE):
            return await self.run(watch)

    async def click(self, selector: str) -> None:
        """Wait for an element and click it; the focused element loses the focus first."""
        await self.until(f"document.querySelector({json.dumps(selector)})")
        await self.run(f"document.activeElement.blur(); document.querySelector({json.dumps(selector)}).click()")

    async def write(self, selector: str, text: str) -> None:
        """Wait for an enabled input and type text into it."""
        await self.until(f"document.querySelector({json.dumps(f'{selector}:enabled')})")
        await self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.command("Input.insertText", text=text)

    def events_of(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of all events of this method so far."""
        return [event["params"] for event in self.events if event["method"] == method]

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        """Save the visible part, or the whole page, as a PNG file."""
        taken = await self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(taken["data"]))

    async def close(self) -> None:
        """Stop Chromium."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            await self._socket.close()
        await self._stack.close()
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, PATIENCE)
        if self._drain.is_alive():
            await asyncio.to_thread(self._drain.join, PATIENCE)
        assert self._process.stderr is not None
        self._process.stderr.close()

    def _port(self) -> int:
        """Return the DevTools port that Chromium prints at its start."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if b"DevTools listening on" in line:
                self._drain.start()
                return int(line.split(b":")[-1].split(b"/")[0])
        raise AssertionError("the browser ended before it listened")

    async def _read(self) -> None:
        async for message in self._socket:
            received = json.loads(message.data)
            waiting = self._answers.pop(received.get("id", 0), None)
            if waiting is None:
                self.events.append(received)
            elif "error" in received:
                waiting.set_exception(AssertionError(received["error"]))
            else:
                waiting.set_result(received["result"])
