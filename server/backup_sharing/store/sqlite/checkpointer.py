"""Copying of committed pages from the write-ahead log into the database, in parallel to the writer.

SQLite would copy inside a COMMIT. Here a separate thread copies, and the writer pauses only for the pages that it wrote
meanwhile, so that the log can restart from its beginning.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backup_sharing.store.sqlite.checkpoint import begin_again, checkpoint
from backup_sharing.store.sqlite.connection import is_failed_sync, is_locked
from backup_sharing.store.sqlite.log import LogUse, log_path, log_use

_log = logging.getLogger(__name__)

_MIB: Final = 1024 * 1024

LOOK_EVERY: Final = 0.05
"""Seconds between checks while changes are written; a fast disk takes a few MiB in this time."""
STUCK_FOR: Final = 1.0
"""Seconds before a retry when nothing can be copied, because of a long read or a failing disk."""
FINISH_WAIT: Final = 0.01
"""Seconds that the paused writer waits for readers; the read of a page takes less."""
FORCE_EVERY: Final = 10.0
"""Seconds between two longer waits of the writer for readers."""
FORCE_WAIT: Final = 0.5
"""Seconds of a longer wait; short compared with the time that a call may take."""
_CLOSE_WITHIN: Final = 5.0
"""Seconds that close waits for an interrupted checkpoint; only a hanging disk takes as long."""


@dataclass(frozen=True, slots=True)
class LogBounds:
    """Limits of the log's size, in bytes."""

    copy_from: int = 4 * _MIB
    """Uncopied bytes from which the thread copies; the same number of pages as SQLite's own limit."""
    finish_from: int = 32 * _MIB
    """Bytes in use from which the writer pauses; so rare that less than one call of a hundred shows it."""
    force_from: int = 256 * _MIB
    """Bytes in use from which the writer waits for readers that hold the log back."""


class Checkpointer:
    """A thread that copies on its own connection, with a guard connection; idle while nothing is written.

    The checkpointer owns both connections from now on. A failed checkpoint is logged and retried; no change fails
    because of it. But after a failed sync, ``breakdown`` is called with the error: then SQLite's reports that data is
    on the disk are no longer reliable.
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
        """Held during each checkpoint; guards ``_copied``."""
        self._copied = LogUse()
        self.in_use = 0
        """Bytes of the log in use at the last check."""
        self.outcomes = {"complete": 0, "partial": 0, "failed": 0}
        """Number of checkpoints by outcome; complete: nothing was left to copy."""
        self.seconds = 0.0
        """Seconds of all checkpoints together."""
        self._finish = False
        self._force_again_at = 0.0
        self._failing = False
        self._written = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sqlite-checkpointer", daemon=True)
        self._thread.start()

    def after_batch(self, connection: sqlite3.Connection) -> None:
        """Record that a batch was written. The writer's thread calls this with its connection, between two batches."""
        if not self._written.is_set():
            self._written.set()
        if self._finish:
            self._finish = False
            self._attempt(lambda: self._stand_still(connection, FINISH_WAIT))
        if self.in_use >= self._bounds.force_from and time.monotonic() >= self._force_again_at:
            self._force_again_at = time.monotonic() + FORCE_EVERY
            self._attempt(lambda: self._force(connection))

    def stop(self) -> None:
        """Begin no more checkpoints; the running one continues."""
        self._stopping.set()
        self._written.set()

    def close(self) -> None:
        """Interrupt the running checkpoint, if any, and close the connections."""
        self.stop()
        give_up_at = time.monotonic() + _CLOSE_WITHIN
        while self._thread.is_alive():
            if time.monotonic() > give_up_at:
                _log.error("a checkpoint does not end; close does not wait for it any longer")
                return
            self._connection.interrupt()
            self._thread.join(LOOK_EVERY)
        if self._empty_log():
            self._guard.close()
            self._connection.close()

    def _empty_log(self) -> bool:
        """Copy everything for the last time; return whether the connections may be closed, which copies the rest."""
        try:
            begin_again(self._connection, self._guard, "TRUNCATE", wait=0)
        except sqlite3.ProgrammingError:
            return False  # already closed
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
            self._written.clear()  # before the check for a stop, or the signal of close would be lost
            if self._stopping.wait(pause):
                return
            moving = self._attempt(self._look)
            pause = LOOK_EVERY if moving else STUCK_FOR
            if not moving:
                self._written.set()  # look again, also after a failure: the writer may write nothing more

    def _look(self) -> bool:
        """Copy if there is enough to copy; return False if there is, but nothing could be copied."""
        use = log_use(self._log)
        self.in_use = use.size
        if self._left(use) * use.frame_size < self._bounds.copy_from:
            return True
        before = self._copied
        if not self._copy(wait=LOOK_EVERY):
            self._written.set()  # some of it is left
        self._finish = use.size >= self._bounds.finish_from
        return self._copied != before

    def _copy(self, wait: float) -> bool:
        """Copy as much as possible; return whether all pages are copied.

        ``wait``: maximum seconds to wait for another checkpoint to end.
        """
        if not self._turn.acquire(timeout=wait):
            return False
        try:
            use = log_use(self._log)
            if self._left(use) == 0:
                return True
            with self._counted() as done:
                copied = checkpoint(self._connection, self._guard, "PASSIVE")
                done(copied.everything)
            if copied.frames < 0:
                return False  # another process is checkpointing
            self._copied = LogUse(use.generation, copied.done, use.frame_size)
            return copied.everything
        finally:
            self._turn.release()

    def _stand_still(self, connection: sqlite3.Connection, wait: float) -> bool:
        """Copy everything in the writer's thread; return whether the log restarts."""
        if not self._turn.acquire(timeout=wait):
            return False
        try:
            with self._counted() as done:
                return done(begin_again(connection, self._guard, "RESTART", wait))
        finally:
            self._turn.release()

    @contextmanager
    def _counted(self) -> Iterator[Callable[[bool], bool]]:
        """Time a checkpoint, and count it by the outcome that its context passes on; without one it has failed."""
        began, outcome = time.monotonic(), "failed"

        def done(everything: bool) -> bool:
            nonlocal outcome
            outcome = "complete" if everything else "partial"
            return everything

        try:
            yield done
        finally:
            self.seconds += time.monotonic() - began
            self.outcomes[outcome] += 1

    def _force(self, connection: sqlite3.Connection) -> None:
        size = self.in_use // _MIB
        outcome = (
            "is now copied" if self._stand_still(connection, FORCE_WAIT) else "is held back; is there a long read?"
        )
        _log.warning("the write-ahead log had grown to %d MiB and %s", size, outcome)

    def _left(self, use: LogUse) -> int:
        """Return the number of pages that are not copied yet."""
        return use.frames - (self._copied.frames if self._copied.generation == use.generation else 0)

    def _attempt(self, action: Callable[[], bool | None]) -> bool:
        """Return whether the action made progress; log only the first of several failures in a row."""
        try:
            moving = action() is not False
        except Exception as error:  # noqa: BLE001 -- no change may fail because of a checkpoint
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
