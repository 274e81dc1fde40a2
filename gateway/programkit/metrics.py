"""Metrics for Prometheus: declared families, values that are read at each scrape, and those of every Python process."""

from __future__ import annotations

import logging
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
    """What it says, in one sentence, for an operator."""

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

    def add_histogram(
        self, family: Family, bounds: Sequence[float], read: Callable[[], tuple[Sequence[int], float]]
    ) -> None:
        """Read a histogram: the number of observations in each bucket, one more than ``bounds``, and their sum."""

        def metric() -> Metric:
            counts, total = read()
            made = HistogramMetricFamily(family.name, family.meaning)
            made.add_metric((), list(_cumulated(bounds, counts)), total)
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


def _cumulated(bounds: Sequence[float], counts: Sequence[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(float, bounds), float("inf")), counts, strict=True):
        total += count
        yield "+Inf" if bound == float("inf") else str(bound), total


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
