"""Metrics of calls, updated by the pipeline; a call costs about three microseconds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from backup_sharing.metrics import families

UNKNOWN: Final = "unknown"
"""Label of every method, code or reason that is not known: clients can make up any name."""

_OTHER_SPELLING: Final = {"OK": "OK", "CANCELLED": "Canceled"}


def code_label(name: str) -> str:
    """Return a gRPC code as gRPC's Go library writes it, which the interceptors have made the convention."""
    return _OTHER_SPELLING.get(name) or name.title().replace("_", "")


class CallMetrics:
    """A `backup_sharing.rpc.reception.CallObserver`."""

    def __init__(
        self, registry: CollectorRegistry, methods: Mapping[str, str], codes: Collection[str], reasons: Collection[str]
    ) -> None:
        """Register the families.

        Args:
            registry: what is scraped.
            methods: known methods, ``/package.Service/Method``, each with its ``grpc_type``.
            codes: names of all gRPC codes.
            reasons: all reasons of failures.
        """
        self._methods = {name: (kind, *name[1:].rsplit("/", 1)) for name, kind in methods.items()}
        self._codes = {name: code_label(name) for name in codes}
        self._reasons = frozenset(reasons)
        self._started = families.STARTED.counter(registry)
        self._handled = families.HANDLED.counter(registry)
        self._handling = families.HANDLING.histogram(registry)
        stage = families.STAGE.histogram(registry)
        self._identity, self._turn = stage.labels("identity"), stage.labels("turn")
        self.commit_wait, self.decision, self.commit = map(stage.labels, ("commit_wait", "decision", "commit"))
        """Stages of changes and batches."""
        self._started_of: dict[str, Counter] = {}
        self._handled_of: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        for name in self._methods:  # so that a rate exists before the first call
            self._started_of[name] = self._started.labels(*self._methods[name])
            self._of(name, "OK", "")

    def began(self, method: str) -> None:
        counter = self._started_of.get(method)
        if counter is None:
            counter = self._started.labels(*self._labels(method))
        counter.inc()

    def ended(self, method: str, code: str, reason: str, seconds: float) -> None:
        found = self._handled_of.get((method, code, reason))
        if found is None:
            found = self._of(method, code, reason)
        handled, handling = found
        handled.inc()
        handling.observe(seconds)

    def identified(self, seconds: float) -> None:
        self._identity.observe(seconds)

    def had_turn(self, seconds: float) -> None:
        self._turn.observe(seconds)

    def _of(self, method: str, code: str, reason: str) -> tuple[Counter, Histogram]:
        labels = self._labels(method)
        label = self._codes.get(code, UNKNOWN)
        handled = self._handled.labels(*labels, label, reason if not reason or reason in self._reasons else UNKNOWN)
        found = handled, self._handling.labels(*labels)
        # Kept for known names only: others would fill the memory.
        if method in self._methods and code in self._codes and (not reason or reason in self._reasons):
            self._handled_of[method, code, reason] = found
        return found

    def _labels(self, method: str) -> tuple[str, ...]:
        return self._methods.get(method) or (UNKNOWN, UNKNOWN, UNKNOWN)
