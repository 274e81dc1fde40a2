"""Files that are read again after a change; while they cannot be used, the program keeps what it has read before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

LOOK_SECONDS: Final = 5.0
"""Interval between two checks of the files, in seconds."""


class WatchedFiles:
    """Reads files again after a change."""

    def __init__(
        self,
        logger: str,
        event: str,
        files: Sequence[Path],
        read: Callable[[], None],
        *,
        unusable: type[Exception],
        logged: Mapping[str, object] | None = None,
    ) -> None:
        """Store the current timestamps of the files, without reading the files.

        Args:
            logger: name of the logger for reloads and failures.
            event: event of the log lines.
            files: files to watch.
            read: reads all files. Raises ``unusable`` and changes nothing if the files cannot be used.
            unusable: the exception for files that cannot be used; its message names the file.
            logged: values of the log line about a reload; None: the paths of all files.
        """
        self._log = structlog.get_logger(logger)
        self._event = event
        self.files = tuple(files)
        self._read = read
        self._unusable = unusable
        self._logged = {"files": [str(path) for path in files]} if logged is None else logged
        self._read_at = self._stamps()
        self._problem: tuple[object, str] | None = None

    @property
    def problem(self) -> str:
        """Why the present files are not in use; empty if they are, as far as known."""
        return "" if self._problem is None else self._problem[1]

    def look(self) -> bool:
        """Read the files again if they have changed; return whether new files are in use."""
        stamps = self._stamps()
        if stamps == self._read_at:
            return False
        try:
            self._read()
        except self._unusable as error:
            # The files may be half written: retry at the next look, and log each problem once.
            problem = (stamps, str(error))
            if problem != self._problem:
                self._problem = problem
                self._log.error(self._event, problem=str(error))
            return False
        self._are_read(stamps)
        self._log.info(self._event, **self._logged)
        return True

    def reload(self) -> bool:
        """Read the files again, changed or not; return whether they have changed since they were read.

        Raises:
            Exception: the files cannot be used (``unusable``); what was read before stays in use.
        """
        stamps = self._stamps()
        self._read()
        is_new = stamps != self._read_at
        self._are_read(stamps)
        return is_new

    async def watch(self, changed: Callable[[], None], every: float = LOOK_SECONDS) -> None:
        """Look every ``every`` seconds until cancelled, and call ``changed`` after each change."""
        while True:
            await asyncio.sleep(every)
            if self.look():
                changed()

    def _are_read(self, stamps: list[tuple[int, ...]]) -> None:
        self._read_at, self._problem = stamps, None

    def _stamps(self) -> list[tuple[int, ...]]:
        return [_stamp(path) for path in self.files]


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size)
