"""The line of a slow call, which says where its time went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from backupsharing.v2.backup_sharing_pb2 import CountSharingsRequest
from tests.server.calls import COUNT, SHARE, call, share_message
from tests.server.identities import GIVER, MADE_REQUEST_ID, identity

LogLines = Callable[[], list[dict[str, Any]]]

AT_ONCE = 1e-9
"""Seconds from which every call is slow."""


def pipeline_of(methods: Sequence[ServedMethod], slow_seconds: float) -> Pipeline:
    return Pipeline(methods, identity(), 1.0, lambda: MADE_REQUEST_ID, slow_seconds=slow_seconds)


async def test_a_slow_change_says_where_its_time_went(methods: Sequence[ServedMethod], log_lines: LogLines) -> None:
    answer = await pipeline_of(methods, AT_ONCE).carry_out(call(SHARE, share_message()))
    assert answer.status is None
    line, slow = log_lines()
    assert (line["event"], slow["event"], slow["level"]) == ("call", "slow call", "warning")
    assert [slow[name] for name in ("method", "code", "ms", "request_id")] == [
        line[name] for name in ("method", "code", "ms", "request_id")
    ]
    stages = ["identity", "turn", "checks", "waiting", "lock", "decision", "commit", "reply", "work"]
    assert list(slow["stages_ms"]) == stages
    assert slow["batch_size"] == 1
    assert sum(slow["stages_ms"].values()) <= slow["ms"] + 0.01 * len(stages)


async def test_a_slow_read_has_no_batch(methods: Sequence[ServedMethod], log_lines: LogLines) -> None:
    await pipeline_of(methods, AT_ONCE).carry_out(call(COUNT, CountSharingsRequest(project_id=GIVER)))
    _, slow = log_lines()
    assert list(slow["stages_ms"]) == ["identity", "turn", "work"]
    assert slow["batch_size"] is None


async def test_a_quick_call_is_not_slow(methods: Sequence[ServedMethod], log_lines: LogLines) -> None:
    for seconds in (0.0, 3600.0):
        await pipeline_of(methods, seconds).carry_out(call(COUNT, CountSharingsRequest(project_id=GIVER)))
    assert [line["event"] for line in log_lines()] == ["call", "call"]


async def test_many_slow_calls_are_counted_not_written(methods: Sequence[ServedMethod], log_lines: LogLines) -> None:
    pipeline = pipeline_of(methods, AT_ONCE)
    for _ in range(100):
        await pipeline.carry_out(call(COUNT, CountSharingsRequest(project_id=GIVER)))
    events = [line["event"] for line in log_lines()]
    assert events.count("call") == 100
    assert events.count("slow call") < 50
