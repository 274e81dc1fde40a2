"""Families, readings at each scrape, and the metrics of the process."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from programkit.metrics import OF_PROCESS, Family, Readings, Tally, watch_process

QUEUE = Family("a_queue_length", "gauge", ("queue",), "Things that wait.")
SENT = Family("a_sent_total", "counter", (), "Things sent.")
SIZES = Family("a_sizes_bytes", "histogram", (), "Sizes.")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.mark.parametrize(
    ("name", "unit"),
    [("a_seconds", "seconds"), ("a_seconds_total", "seconds"), ("a_bytes", "bytes"), ("a_info", ""), ("a_total", "")],
)
def test_the_end_of_a_name_is_its_unit(name: str, unit: str) -> None:
    assert Family(name, "gauge", (), "").unit == unit


def test_a_reading_is_read_at_each_scrape(registry: CollectorRegistry) -> None:
    lengths = {("reads",): 1.0}
    Readings(registry).add(QUEUE, lambda: lengths)
    assert registry.get_sample_value("a_queue_length", {"queue": "reads"}) == 1
    lengths["reads",] = 2
    assert registry.get_sample_value("a_queue_length", {"queue": "reads"}) == 2


def test_a_reading_without_a_value_is_absent(registry: CollectorRegistry) -> None:
    Readings(registry).add(SENT, lambda: None)
    assert generate_latest(registry) == b""


def test_a_reading_of_a_histogram_is_cumulated(registry: CollectorRegistry) -> None:
    tally = Tally((1, 2))
    for size in (0, 1, 1, 3, 10, 15, 20):
        tally.observe(size)
    assert (tally.counts, tally.count) == ([3, 0, 4], 7)
    Readings(registry).add_histogram(SIZES, lambda: {(): tally})
    found = {
        bound: registry.get_sample_value("a_sizes_bytes_bucket", {"le": bound}) for bound in ("1.0", "2.0", "+Inf")
    }
    assert found == {"1.0": 3, "2.0": 3, "+Inf": 7}
    assert registry.get_sample_value("a_sizes_bytes_sum") == 50


def test_a_reading_can_be_selected_by_its_name(registry: CollectorRegistry) -> None:
    readings = Readings(registry)
    readings.add(SENT, lambda: 7)
    readings.add(QUEUE, lambda: {("reads",): 1.0})
    readings.add_histogram(SIZES, lambda: {(): Tally((1,))})
    for name in ("a_sent_total", "a_queue_length", "a_sizes_bytes_sum"):
        text = generate_latest(registry.restricted_registry([name])).decode()
        assert [line.partition("{")[0].partition(" ")[0] for line in text.splitlines() if line[0] != "#"] == [name]


def test_no_family_can_be_read_twice(registry: CollectorRegistry) -> None:
    Readings(registry).add(SENT, lambda: 7)
    with pytest.raises(ValueError, match="a_sent"):
        Readings(registry).add(SENT, lambda: 8)


def test_a_failed_reading_hides_no_other(registry: CollectorRegistry, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> float:
        raise ZeroDivisionError

    readings = Readings(registry)
    readings.add(QUEUE, broken)
    readings.add(SENT, lambda: 7)
    for _ in range(3):
        assert registry.get_sample_value("a_sent_total") == 7
    assert [(one.levelno, "a_queue_length" in one.getMessage()) for one in caplog.records] == [(logging.ERROR, True)]


def test_the_families_of_the_process_are_those_documented(registry: CollectorRegistry) -> None:
    watch_process(registry)
    found = {
        (f"{one.name}_total" if one.type == "counter" else one.name, one.type, tuple(sorted(one.samples[0].labels)))
        for one in registry.collect()
    }
    assert found == {(one.name, one.kind, tuple(one.labels)) for one in OF_PROCESS}


def test_no_series_tells_when_a_metric_was_created(registry: CollectorRegistry) -> None:
    watch_process(registry)
    SENT.counter(registry).inc()
    assert b"_created" not in generate_latest(registry)
