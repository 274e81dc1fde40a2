"""The time that the stages of a call took, gathered once for logs, traces and metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple


class Stage(NamedTuple):
    """A part of a call, with readings of ``time.perf_counter()``."""

    name: str
    began: float
    ended: float


class Batch(NamedTuple):
    """A batch of changes that share a commit."""

    number: int
    """Unique in this process."""
    size: int
    """Number of changes."""


class Stages:
    """The stages of one call, each of which begins where the last one ended. For one task."""

    __slots__ = ("_marks", "batch", "began")

    def __init__(self) -> None:
        """Begin the first stage."""
        self.began = time.perf_counter()
        """Begin of the call, a reading of ``time.perf_counter()``."""
        self._marks: list[tuple[str, float]] = []
        self.batch: Batch | None = None
        """The batch in which a change was made; None: it was in none."""

    def end(self, stage: str, at: float | None = None) -> float:
        """End the running stage, which has this name; at a reading of ``time.perf_counter()``, or now. Return its
        seconds."""
        ended = time.perf_counter() if at is None else at
        began = self._marks[-1][1] if self._marks else self.began
        self._marks.append((stage, ended))
        return max(0.0, ended - began)

    def all(self) -> list[Stage]:
        """Return the stages that have ended, in order; a repeated stage is there several times."""
        stages, began = [], self.began
        for name, ended in self._marks:
            stages.append(Stage(name, began, max(began, ended)))
            began = max(began, ended)
        return stages

    def milliseconds(self, until: float) -> Mapping[str, float]:
        """Return the milliseconds of each stage; ``unfinished``: from the last end until ``until``, if that is 1 or
        more."""
        found: dict[str, float] = {}
        last = self.began
        for name, began, ended in self.all():
            found[name] = round(found.get(name, 0.0) + (ended - began) * 1000, 2)
            last = ended
        if (rest := round((until - last) * 1000, 2)) >= 1:
            found["unfinished"] = rest
        return found
