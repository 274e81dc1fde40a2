"""Lifetime of a process: until a signal, or until its parent ends; SIGHUP reloads, and never ends the process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Final

from programkit.process.reloads import Reloads
from programkit.process.supervisor import Supervisor

RELOAD_PAUSE: Final = 1.0
"""Minimum seconds between two reloads. Signals in between cause one reload at the end of the pause."""


class Lifetime:
    """Drains on the first SIGTERM or SIGINT, and ends the process at once on the second. Reloads on SIGHUP."""

    def __init__(self, supervisor: Supervisor | None = None) -> None:
        """Report to a supervisor, if there is one."""
        self.reloads = Reloads()
        """The parts of the program that SIGHUP reloads."""
        self._supervisor = supervisor or Supervisor({}, os.getpid())
        self._stop = asyncio.Event()
        self._hangup = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._reloading: asyncio.Task[None] | None = None

    def watch(self, *, stdin: bool) -> None:
        """Start to listen for signals and, with ``stdin``, for the end of standard input."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        threading.Thread(target=self._take_hangups, args=(loop,), name="hangups", daemon=True).start()
        if stdin:
            loop.add_reader(sys.stdin.fileno(), self._readable)

    def serves(self) -> None:
        """Report that the program serves. From now on SIGHUP reloads; one that came before does it now."""
        self._supervisor.ready()
        self._reloading = asyncio.create_task(self._reload_on_hangup())
        self._tasks = [asyncio.create_task(self._supervisor.keep_alive())]

    def hang_up(self) -> None:
        """Reload all parts soon, as after a SIGHUP; before `serves`, once the program serves."""
        self._hangup.set()

    def drains(self) -> None:
        """Report that the program drains. From now on SIGHUP does nothing."""
        if self._reloading is not None:
            self._reloading.cancel()
        self._supervisor.stopping()

    async def stopping(self) -> None:
        """Wait until the program must drain."""
        await self._stop.wait()

    async def _reload_on_hangup(self) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            self._supervisor.reloading()
            await self.reloads.run()
            self._supervisor.ready()

    def _take_hangups(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop is closed: the program ends
            while signal.sigwait({signal.SIGHUP}):
                loop.call_soon_threadsafe(self.hang_up)
                time.sleep(RELOAD_PAUSE)

    def _signalled(self, number: int) -> None:
        if self._stop.is_set():
            os._exit(128 + number)
        self._stop.set()

    def _readable(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._stop.set()
