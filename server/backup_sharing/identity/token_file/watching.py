"""The token file of a running server: read again after a change, with a record of the last use of each token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from backup_sharing.identity.interface import Credentials
from backup_sharing.identity.state import ProviderState
from backup_sharing.identity.static import StaticTokens
from backup_sharing.identity.token_file.entries import BadTokenFile, digest
from backup_sharing.identity.token_file.last_use import record_last_use
from backup_sharing.identity.token_file.writing import CannotChange
from programkit.watched_files import WatchedFiles

LOOK_SECONDS: Final = 1.0
"""Interval between two checks of the file, in seconds: for this long a revoked token is accepted."""
RECORD_SECONDS: Final = 60.0
"""Interval between two records of the last use, in seconds."""

Revoked = Callable[[Callable[[Credentials], bool]], None]
"""Is told which credentials no longer count."""


class TokenFile:
    """The tokens of a file, which is read again after a change. A file that cannot be used changes nothing."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Read the file. ``clock`` returns seconds since 1970.

        Raises:
            BadTokenFile: the file cannot be read, or an entry is invalid.
        """
        self._path = path
        self._clock = clock
        self._files = WatchedFiles("server.tokens", "tokens", [path], self._read, unusable=BadTokenFile)
        self.provider = StaticTokens.load(path, clock)
        """Identifies callers by the tokens of the file."""
        self._gone: frozenset[str] = frozenset()
        self._reading = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_recorded = True
        self._revoked: Revoked = lambda _: None

    def start(self, revoked: Revoked) -> None:
        """Begin to look at the file and to record uses; ``revoked`` is called after tokens have gone."""
        self._revoked = revoked
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._record())]

    async def close(self) -> None:
        """Stop looking, and record the last uses."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.record()

    async def look(self) -> bool:
        """Read the file if it has changed; return whether a new file is in use."""
        async with self._reading:
            is_new = await asyncio.to_thread(self._files.look)
            self._tell()
        return is_new

    def state(self) -> ProviderState:
        """Return whether the present file is in use."""
        problem = self._files.problem
        return ProviderState("tokens", f"The file of tokens is not in use ({problem})." if problem else "")

    async def reload(self) -> str:
        """Read the file, changed or not; return the number of tokens for the log.

        Raises:
            BadTokenFile: the file cannot be used; what was read before counts.
        """
        async with self._reading:
            await asyncio.to_thread(self._files.reload)
            self._tell()
        return f"{len(self.provider.known)} in {self._path}"

    async def record(self) -> None:
        """Record the uses since the last record. If that fails, it is logged once, and nothing else happens."""
        used = self.provider.take_used()
        if not used:
            return
        try:
            await asyncio.to_thread(record_last_use, self._path, used, self.provider.known, self._clock())
        except (OSError, CannotChange) as error:
            if self._is_recorded:
                why = (error.strerror if isinstance(error, OSError) else None) or str(error)
                structlog.get_logger("server.tokens").warning("tokens", problem=f"last use is not recorded: {why}")
            self._is_recorded = False
        else:
            self._is_recorded = True

    def _read(self) -> None:
        self._gone |= self.provider.replace(self._path)

    def _tell(self) -> None:
        gone, self._gone = self._gone, frozenset()
        if gone:
            self._revoked(lambda credentials: bool(credentials.token) and digest(credentials.token) in gone)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def _record(self) -> None:
        while True:
            await asyncio.sleep(RECORD_SECONDS)
            await self.record()
