"""Metrics for Prometheus: declared families, values that are read at each scrape, and those of every Python process."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

Value: TypeAlias = float | Mapping[Sequence[str], float] | None
"""The value of a family, or a value for each combination of its labels; None: there is none at present."""

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of durations: from the fastest call to the longest that a caller waits for."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family. The documentation of metrics is made from these, and only these can be registered."""

    name: str
    """Name as scraped: in base units, counters with ``_total``."""
    kind: Kind
    labels: Sequence[str]
    meaning: str
    """Meaning in one sentence, for an operator."""

    @property
    def unit(self) -> str:
        """The unit, which is the end of the name; empty for a number of things."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in ("seconds", "bytes") else ""

    def counter(self, registry: CollectorRegistry) -> Counter:
        """Register a counter and return it."""
        return Counter(self.name, self.meaning, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry, buckets: Sequence[float] = SECONDS) -> Histogram:
        """Register a histogram with these upper bounds and return it."""
        return Histogram(self.name, self.meaning, self.labels, buckets=buckets, registry=registry)

    def metric(self, value: float | Mapping[Sequence[str], float]) -> Metric:
        """Return the family with its value or values, for a scrape."""
        made = _METRICS[self.kind](self.name.removesuffix("_total"), self.meaning, labels=self.labels)
        values = value if isinstance(value, Mapping) else {(): value}
        for labels, one in values.items():
            made.add_metric(labels, one)
        return made


_METRICS: Final[Mapping[str, type[CounterMetricFamily | GaugeMetricFamily]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
}


class Tally:
    """A histogram for calls, which one thread updates at a quarter of the library's cost, as it takes no lock."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        """Count observations up to each of ``bounds``, and beyond."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Observations above the bound before, up to this one; the last has no bound."""
        self.sum = 0.0
        """Sum of all observations."""

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)

    def observe(self, value: float) -> None:
        """Count an observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Readings:
    """Families whose values are read at each scrape, so that no call pays for them.

    Values are read in the thread that collects; a reading that fails is left out, and logged once.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register families in ``registry``."""
        self._registry = registry

    def add(self, family: Family, read: Callable[[], Value]) -> None:
        """Read a family's value at each scrape; ``read`` must return at once."""

        def metric() -> Metric | None:
            value = read()
            return None if value is None else family.metric(value)

        self._registry.register(_Reading(family, metric))

    def add_histogram(self, family: Family, read: Callable[[], Mapping[Sequence[str], Tally]]) -> None:
        """Read a histogram at each scrape: a tally for each combination of its labels."""

        def metric() -> Metric:
            made = HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
            for labels, tally in read().items():
                made.add_metric(labels, list(_cumulated(tally)), tally.sum)
            return made

        self._registry.register(_Reading(family, metric))


class _Reading(Collector):
    """One family of `Readings`."""

    def __init__(self, family: Family, read: Callable[[], Metric | None]) -> None:
        self._family = family
        self._read = read
        self._has_failed = False

    def describe(self) -> Iterable[Metric]:
        """Return the family without a value, so that it can be selected by its name, and not registered twice."""
        return (Metric(self._family.name.removesuffix("_total"), self._family.meaning, self._family.kind),)

    def collect(self) -> Iterable[Metric]:
        """Return the family, or nothing while it has no value."""
        try:
            found = self._read()
        except Exception:  # noqa: BLE001 -- a defect of one reading must not hide all others from the operator
            if not self._has_failed:
                self._has_failed = True
                _log.exception("the metric %s cannot be read because of a defect", self._family.name)
            return ()
        return () if found is None else (found,)


def _cumulated(tally: Tally) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(str, map(float, tally.bounds)), "+Inf"), tally.counts, strict=True):
        total += count
        yield bound, total


OF_PROCESS: Final = (
    Family("process_cpu_seconds_total", "counter", (), "CPU time of the process, user and system."),
    Family("process_resident_memory_bytes", "gauge", (), "Memory of the process in RAM."),
    Family("process_virtual_memory_bytes", "gauge", (), "Address space of the process."),
    Family("process_start_time_seconds", "gauge", (), "Start of the process, in seconds since 1970."),
    Family("process_open_fds", "gauge", (), "Open file descriptors."),
    Family("process_max_fds", "gauge", (), "Maximum open file descriptors."),
    Family("python_gc_objects_collected_total", "counter", ("generation",), "Objects freed by the garbage collector."),
    Family(
        "python_gc_objects_uncollectable_total",
        "counter",
        ("generation",),
        "Objects that the garbage collector could not free.",
    ),
    Family("python_gc_collections_total", "counter", ("generation",), "Runs of the garbage collector."),
)
"""Families of the library's own collectors. The memory, CPU and descriptors come from ``/proc``: on Linux only."""


def watch_process(registry: CollectorRegistry) -> None:
    """Register the families of `OF_PROCESS`."""
    # Each counter and histogram would have a second series with the time of its creation.
    disable_created_metrics()  # type: ignore[no-untyped-call] # the library has no types here
    ProcessCollector(registry=registry)
    GCCollector(registry)
