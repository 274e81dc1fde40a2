"""Copies what was committed from the write-ahead log into the database, beside the writer.

SQLite would do so inside a COMMIT. Here a thread of its own copies, and the writer stands still
only for the rest that it wrote meanwhile, so that the log can begin again from its start.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backup_sharing.store.sqlite.checkpoint import begin_again, checkpoint
from backup_sharing.store.sqlite.connection import is_failed_sync, is_locked
from backup_sharing.store.sqlite.log import LogUse, log_path, log_use

_log = logging.getLogger(__name__)

_MIB: Final = 1024 * 1024

LOOK_EVERY: Final = 0.05
"""Seconds between two looks while changes are written: a fast disk takes a few MiB in this time."""
STUCK_FOR: Final = 1.0
"""Seconds until it is tried again when nothing can be copied, because of a long read or a failing disk."""
FINISH_WAIT: Final = 0.01
"""Seconds that the writer waits for readers when it stands still: a page is read in less."""
FORCE_EVERY: Final = 10.0
"""Seconds between two times that the writer waits longer for readers."""
FORCE_WAIT: Final = 0.5
"""Seconds that the writer then waits: short beside the time that a call may take."""
_CLOSE_WITHIN: Final = 5.0
"""Seconds that close waits for a checkpoint it has interrupted: only a disk that hangs takes as long."""


@dataclass(frozen=True, slots=True)
class LogBounds:
    """How large the log may grow, in bytes."""

    copy_from: int = 4 * _MIB
    """Left to copy before the thread begins: as many pages as SQLite itself would let gather."""
    finish_from: int = 32 * _MIB
    """In use before the writer stands still: seldom enough to show in less than one call of a hundred."""
    force_from: int = 256 * _MIB
    """In use before the writer waits for readers that hold the log back."""


class Checkpointer:
    """A thread that copies on its own connection, beside a guard. Does nothing while nothing is written.

    It owns both connections from now on. A checkpoint that fails is logged, and tried again; no change fails because
    of it. But when something could not be synced, ``breakdown`` is called with the error: then SQLite's own word
    that something is on the disk cannot be relied on any more.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        guard: sqlite3.Connection,
        database: Path,
        breakdown: Callable[[Exception], None],
        bounds: LogBounds | None = None,
    ) -> None:
        self._connection = connection
        self._guard = guard
        self._breakdown = breakdown
        self._log = log_path(database)
        self._bounds = bounds or LogBounds()
        self._turn = threading.Lock()
        """Held for each checkpoint; guards what was copied."""
        self._copied = LogUse()
        self._in_use = 0
        self._finish = False
        self._force_again_at = 0.0
        self._failing = False
        self._written = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sqlite-checkpointer", daemon=True)
        self._thread.start()

    def after_batch(self, connection: sqlite3.Connection) -> None:
        """Take note of what was written. For the writer's thread, with its connection, between two batches."""
        if not self._written.is_set():
            self._written.set()
        if self._finish:
            self._finish = False
            self._attempt(lambda: self._stand_still(connection, FINISH_WAIT))
        if self._in_use >= self._bounds.force_from and time.monotonic() >= self._force_again_at:
            self._force_again_at = time.monotonic() + FORCE_EVERY
            self._attempt(lambda: self._force(connection))

    def stop(self) -> None:
        """Begin no more checkpoints; the one under way goes on."""
        self._stopping.set()
        self._written.set()

    def close(self) -> None:
        """Interrupt the checkpoint under way, if any, and let go of the database."""
        self.stop()
        give_up_at = time.monotonic() + _CLOSE_WITHIN
        while self._thread.is_alive():
            if time.monotonic() > give_up_at:
                _log.error("a checkpoint does not end; it is left behind")
                return
            self._connection.interrupt()
            self._thread.join(LOOK_EVERY)
        if self._empty_log():
            self._guard.close()
            self._connection.close()

    def _empty_log(self) -> bool:
        """Copy everything for the last time; whether the connections may be closed, which copies what is left."""
        try:
            begin_again(self._connection, self._guard, "TRUNCATE", wait=0)
        except sqlite3.ProgrammingError:
            return False  # closed before
        except sqlite3.Error as error:
            if is_failed_sync(error):
                self._breakdown(error)
                return False
            _log.exception("the last checkpoint failed; nothing is lost, the next start reads the log")
        return True

    def _run(self) -> None:
        pause = LOOK_EVERY
        while True:
            self._written.wait()
            self._written.clear()  # before it is seen whether to stop, or what close sets would be lost
            if self._stopping.wait(pause):
                return
            moving = self._attempt(self._look)
            pause = LOOK_EVERY if moving else STUCK_FOR

    def _look(self) -> bool:
        """Copy if there is enough to copy; False if there was, but nothing could be copied."""
        use = log_use(self._log)
        self._in_use = use.size
        if self._left(use) * use.frame_size < self._bounds.copy_from:
            return True
        before = self._copied
        if not self._copy(wait=LOOK_EVERY):
            self._written.set()  # look again: the writer may be silent from now on
        self._finish = use.size >= self._bounds.finish_from
        return self._copied != before

    def _copy(self, wait: float) -> bool:
        """Copy what can be copied; whether nothing was left when it began. Waits for another checkpoint to end."""
        if not self._turn.acquire(timeout=wait):
            return False
        try:
            use = log_use(self._log)
            if self._left(use) == 0:
                return True
            copied = checkpoint(self._connection, self._guard, "PASSIVE")
            if copied.frames < 0:
                return False  # another process is at it
            self._copied = LogUse(use.generation, copied.done, use.frame_size)
            return copied.everything
        finally:
            self._turn.release()

    def _stand_still(self, connection: sqlite3.Connection, wait: float) -> bool:
        """Copy everything from the writer's thread, so that the log begins again; whether it does."""
        if not self._turn.acquire(timeout=wait):
            return False
        try:
            return begin_again(connection, self._guard, "RESTART", wait)
        finally:
            self._turn.release()

    def _force(self, connection: sqlite3.Connection) -> None:
        size = self._in_use // _MIB
        outcome = (
            "is now copied" if self._stand_still(connection, FORCE_WAIT) else "is held back; is there a long read?"
        )
        _log.warning("the write-ahead log had grown to %d MiB and %s", size, outcome)

    def _left(self, use: LogUse) -> int:
        """Pages that are not copied yet."""
        return use.frames - (self._copied.frames if self._copied.generation == use.generation else 0)

    def _attempt(self, action: Callable[[], bool | None]) -> bool:
        """Whether the action came to something; logs a failure, once until it works again."""
        try:
            moving = action() is not False
        except Exception as error:  # noqa: BLE001 -- whatever it is, no change may fail of it
            if isinstance(error, sqlite3.Error) and is_locked(error):
                return False  # another process opens or recovers the database
            if isinstance(error, sqlite3.Error) and is_failed_sync(error):
                self._stopping.set()
                self._breakdown(error)
            elif not self._failing and not self._stopping.is_set():
                _log.exception("a checkpoint failed; nothing is lost, the write-ahead log grows until it works again")
            self._failing = True
            return False
        self._failing = False
        return moving
