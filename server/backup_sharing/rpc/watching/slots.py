"""Limits on open watches, in total and for each project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from backup_sharing.errors import Overloaded


class WatchSlots:
    """Counts open watches."""

    def __init__(self, most: int, of_project: int) -> None:
        """Allow ``most`` watches in total, and ``of_project`` of the callers of one project; 0: no limit for those."""
        self._most = most
        self._of_project = of_project
        self._open: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def taken(self, project_id: str) -> Iterator[None]:
        """Count a watch of a caller of this project; callers without a project count together.

        Raises:
            Overloaded: a limit is reached.
        """
        if self._all >= self._most:
            raise Overloaded(f"{self._most} watches are open, the most that the server takes; try again later.")
        if self._of_project and self._open[project_id] >= self._of_project:
            raise Overloaded(f"The project has {self._of_project} watches open, the most it may have; try again later.")
        self._all += 1
        self._open[project_id] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._open[project_id] -= 1
            if not self._open[project_id]:
                del self._open[project_id]
