"""Lifetime of a process: until a signal, or until its parent ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys


class Lifetime:
    """Drains on the first SIGTERM or SIGINT, and ends the process at once on the second."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()

    def watch(self, *, stdin: bool) -> None:
        """Start to listen for signals and, with ``stdin``, for the end of standard input."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        if stdin:
            loop.add_reader(sys.stdin.fileno(), self._readable)

    async def stopping(self) -> None:
        """Wait until the program must drain."""
        await self._stop.wait()

    def _signalled(self, number: int) -> None:
        if self._stop.is_set():
            os._exit(128 + number)
        self._stop.set()

    def _readable(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._stop.set()
