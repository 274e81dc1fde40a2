"""Reports to systemd, or to another supervisor that sets ``NOTIFY_SOCKET``: ready, reloading, stopping, still alive."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

from programkit.process.scheduling import report_refused

_SHORTEST: Final = 0.05
"""Minimum seconds between two signs of life."""


class Supervisor:
    """The supervisor of this process; without one, nothing is sent."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        """Read ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``; ``pid`` is the id of this process.

        An invalid value counts as none: a supervisor that gets no report restarts the program and logs why.
        """
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog = _watchdog(environment, pid)
        self._is_told = True

    @classmethod
    def of_this_process(cls) -> Supervisor:
        """Return the supervisor that the environment names."""
        return cls(os.environ, os.getpid())

    @property
    def watchdog_seconds(self) -> float | None:
        """Seconds without a sign of life after which the supervisor restarts the process; None: it does not watch."""
        return self._watchdog

    def ready(self) -> None:
        """Report that the program serves."""
        self._send("READY=1", "STATUS=serving")

    def reloading(self) -> None:
        """Report that files are being read again; `ready` ends this."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """Report that the program drains."""
        self._send("STOPPING=1", "STATUS=draining")

    async def keep_alive(self) -> None:
        """Send a sign of life twice per watchdog interval until cancelled; return at once without a watchdog.

        The signs come from the event loop, so they end when the loop is stuck.
        """
        if self._address is None or self._watchdog is None:
            return
        while True:
            self._send("WATCHDOG=1")
            await asyncio.sleep(max(_SHORTEST, self._watchdog / 2))

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if self._is_told:
                report_refused("NOTIFY_SOCKET", error.strerror or str(error), "the supervisor is not told the state")
            self._is_told = False
        else:
            self._is_told = True


def _address(value: str) -> str | None:
    if value.startswith("@") and len(value) > 1:
        return "\0" + value[1:]
    return value if value.startswith("/") else None


def _watchdog(environment: Mapping[str, str], pid: int) -> float | None:
    interval, watched = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    if watched != str(pid) or not (interval.isascii() and interval.isdigit()) or not int(interval):
        return None
    return int(interval) / 1_000_000
