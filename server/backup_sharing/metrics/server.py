"""All metrics of one server."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata

from prometheus_client import CollectorRegistry

from backup_sharing.fair_queue import FairQueue
from backup_sharing.identity.breaker import Breaker
from backup_sharing.identity.cache import TokenCache
from backup_sharing.identity.keystone_client import OUTCOMES
from backup_sharing.metrics import families
from backup_sharing.metrics.calls import CallMetrics
from backup_sharing.metrics.store import Engine, StoreMetrics
from backup_sharing.model import Micros
from backup_sharing.rpc.pipeline import Pipeline
from backup_sharing.rpc.watching.streams import Streams
from backup_sharing.store.batched import BatchedStore
from backup_sharing.store.listing import Counted
from backup_sharing.usecases.census import Census
from backup_sharing.usecases.watching.feed import Feed
from programkit.metrics import SECONDS, Readings, watch_process


class ServerMetrics:
    """The instruments of a server; also an `backup_sharing.identity.configured.IdentityObserver`."""

    def __init__(
        self,
        registry: CollectorRegistry,
        engine: Engine,
        methods: Mapping[str, str],
        codes: Collection[str],
        reasons: Collection[str],
    ) -> None:
        """Register everything that is updated by calls; see `CallMetrics` for the last three."""
        watch_process(registry)
        self._readings = Readings(registry)
        self.calls = CallMetrics(self._readings, methods, codes, reasons)
        """Observes the pipeline."""
        self.store = StoreMetrics(self._readings, self.calls, engine)
        """Observes the store."""
        self._registry = registry
        self._event_delay = families.EVENT_DELAY.histogram(registry)
        build: Mapping[Sequence[str], float] = {(metadata.version("backup-sharing"), engine): 1.0}
        self._readings.add(families.BUILD, lambda: build)

    def event_read(self, at: Micros) -> None:
        """An event of this time was read for the watches."""
        self._event_delay.observe(max(time.time() - at / 1_000_000, 0.0))

    def keystone_is_used(self, cache: TokenCache, breaker: Breaker) -> None:
        keystone = families.KEYSTONE.histogram(self._registry, SECONDS[1:])
        self._keystone = {outcome: keystone.labels(outcome) for outcome in OUTCOMES}
        add = self._readings.add
        add(families.CACHE, lambda: {("hit",): cache.hits, ("miss",): cache.misses})
        add(families.CACHE_TOKENS, lambda: {("accepted",): cache.accepted_tokens, ("refused",): cache.refused_tokens})
        add(families.VALIDATING, lambda: cache.validating)
        add(families.BREAKER, lambda: float(breaker.is_open))

    def keystone_was_asked(self, outcome: str, seconds: float) -> None:
        self._keystone[outcome].observe(seconds)

    def read(self, pipeline: Pipeline, store: BatchedStore, streams: Streams, feed: Feed, census: Census) -> None:
        """Read the state of all parts at each scrape."""
        add = self._readings.add
        add(families.IN_FLIGHT, lambda: pipeline.reception.limiter.in_progress)
        queues: Mapping[str, FairQueue] = {"reads": pipeline.turns.reads, "changes": pipeline.turns.changes}
        add(families.TURNS_WAITING, lambda: {(name,): queue.waiting for name, queue in queues.items()})
        add(families.TURNS_TAKEN, lambda: {(name,): queue.taken for name, queue in queues.items()})
        self.store.read(store)
        add(families.WATCHES, lambda: streams.number)
        add(families.WATCH_LAG, lambda: feed.lag)
        add(families.FEED_READS, lambda: {("ok",): feed.reads - feed.failures, ("failed",): feed.failures})
        add(families.SHARINGS, lambda: census.number(Counted.SHARINGS))
        add(families.BACKUPS, lambda: census.number(Counted.BACKUPS))
        ages = {counted.value: counted for counted in Counted}
        add(
            families.COUNT_AGE,
            lambda: {(name,): age for name, one in ages.items() if (age := census.age(one)) is not None},
        )
