"""Metrics of calls, updated by the pipeline: plain numbers, which are read at each scrape."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from backup_sharing.metrics import families
from programkit.metrics import Readings, Tally

UNKNOWN: Final = "unknown"
"""Label of every method, code or reason that is not known: clients can make up any name."""

_OTHER_SPELLING: Final = {"OK": "OK", "CANCELLED": "Canceled"}


def code_label(name: str) -> str:
    """Return a gRPC code as gRPC's Go library writes it, which the interceptors have made the convention."""
    return _OTHER_SPELLING.get(name) or name.title().replace("_", "")


class _Method:
    """Counters of one method."""

    __slots__ = ("handled", "handling", "labels", "started")

    def __init__(self, *labels: str) -> None:
        self.labels = labels
        self.started = 0
        self.handled: dict[tuple[str, str], int] = {}
        """Number of calls by code and reason."""
        self.handling = Tally()


class CallMetrics:
    """A `backup_sharing.rpc.reception.CallObserver`, for one event loop."""

    def __init__(
        self, readings: Readings, methods: Mapping[str, str], codes: Collection[str], reasons: Collection[str]
    ) -> None:
        """Register the families.

        Args:
            readings: what is scraped.
            methods: known methods, ``/package.Service/Method``, each with its ``grpc_type``.
            codes: names of all gRPC codes.
            reasons: all reasons of failures.
        """
        self._codes = {name: code_label(name) for name in codes}
        self._reasons = frozenset(reasons)
        self._methods = {name: _Method(kind, *name[1:].rsplit("/", 1)) for name, kind in methods.items()}
        for known in self._methods.values():
            # So that a rate exists before the first call, and an increase from the first defect on.
            known.handled["OK", ""] = known.handled["INTERNAL", ""] = 0
        self._unknown = _Method(UNKNOWN, UNKNOWN, UNKNOWN)
        self._identity, self._turn = Tally(), Tally()
        self.commit_wait, self.decision, self.commit = Tally(), Tally(), Tally()
        """Stages of changes and batches."""
        readings.add(families.STARTED, lambda: {one.labels: one.started for one in self._seen()})
        readings.add(families.HANDLED, self._handled)
        readings.add_histogram(families.HANDLING, lambda: {one.labels: one.handling for one in self._seen()})
        stages: Mapping[Sequence[str], Tally] = {
            ("identity",): self._identity,
            ("turn",): self._turn,
            ("commit_wait",): self.commit_wait,
            ("decision",): self.decision,
            ("commit",): self.commit,
        }
        readings.add_histogram(families.STAGE, lambda: stages)

    def began(self, method: str) -> None:
        (self._methods.get(method) or self._unknown).started += 1

    def ended(self, method: str, code: str, reason: str, seconds: float) -> None:
        of_method = self._methods.get(method) or self._unknown
        handled, key = of_method.handled, (code, reason)
        if key not in handled:
            # Other names share one value, or callers could fill the memory.
            key = code if code in self._codes else UNKNOWN, reason if self._is_known(reason) else UNKNOWN
        handled[key] = handled.get(key, 0) + 1
        of_method.handling.observe(seconds)

    def identified(self, seconds: float) -> None:
        self._identity.observe(seconds)

    def had_turn(self, seconds: float) -> None:
        self._turn.observe(seconds)

    def _is_known(self, reason: str) -> bool:
        return not reason or reason in self._reasons

    def _seen(self) -> Iterator[_Method]:
        yield from self._methods.values()
        if self._unknown.started:
            yield self._unknown

    def _handled(self) -> Mapping[Sequence[str], float]:
        return {
            (*one.labels, self._codes.get(code, UNKNOWN), reason): number
            for one in self._seen()
            for (code, reason), number in list(one.handled.items())
        }
