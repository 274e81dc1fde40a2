"""Trace and span id in the log lines of a call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import structlog

from backup_sharing.errors import IdentityUnavailable
from backup_sharing.identity.interface import Credentials
from backup_sharing.model import Principal
from backup_sharing.rpc.pipeline import Pipeline, UnaryCall
from backupsharing.v2.backup_sharing_pb2 import GetSharingRequest
from multiplex.v1 import multiplex_pb2 as pb
from tests.server.calls import GET, call
from tests.server.identities import GIVER, MADE_REQUEST_ID
from tests.server.multiplexing import Desk, asked, multiplexing

LogLines = Callable[[], list[dict[str, Any]]]

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


def get(id: str = "one", **metadata: str) -> UnaryCall:
    request = GetSharingRequest(project_id=GIVER, id=id)
    return call(GET, request, metadata={"x-auth-token": "giver-token", **metadata})


class TalkativeIdentity:
    """An identity service that logs, in the two ways of this program, before it fails."""

    challenge = ""

    async def identify(self, _: Credentials) -> Principal:
        structlog.get_logger("server").error("keystone", problem="away")
        logging.getLogger("backup_sharing.identity").warning("away")
        raise IdentityUnavailable

    identify_again = identify


async def test_every_line_of_a_call_has_its_trace(log_lines: LogLines) -> None:
    pipeline = Pipeline([Desk().method()], TalkativeIdentity(), 0.0, lambda: MADE_REQUEST_ID)
    await pipeline.carry_out(get(**PARENT))
    lines = log_lines()
    assert {line["event"] for line in lines} >= {"keystone", "call"}
    assert [(line["trace_id"], line["span_id"]) for line in lines] == [(TRACE, SPAN)] * len(lines)


async def test_a_call_without_a_valid_trace_logs_none(log_lines: LogLines, desk_pipeline: Pipeline) -> None:
    await desk_pipeline.carry_out(get(**PARENT))
    await desk_pipeline.carry_out(get())
    await desk_pipeline.carry_out(get(traceparent=f"00-{'<b>' * 10}-{SPAN}-01"))
    traced, *others = log_lines()
    assert traced["trace_id"] == TRACE
    assert [line for line in others if "trace_id" in line or "span_id" in line] == []
    assert "<b>" not in str(others)


async def test_calls_of_one_frame_have_their_own_traces(
    log_lines: LogLines, desk: Desk, desk_pipeline: Pipeline
) -> None:
    traces = {number: f"{number:032x}" for number in (1, 2, 3)}

    def one(number: int) -> pb.Call:
        made = asked(number, f"slow-{number}")
        made.metadata.add(key="traceparent", value=f"00-{traces[number]}-{SPAN}-01".encode())
        return made

    async with multiplexing(desk_pipeline) as (client, _):
        await client.send(*map(one, traces), asked(4, "slow-4"))
        await desk.until(lambda: len(desk.begun) == 4)
        desk.open.set()
        await client.answers(4)
        await client.rest()
    logged = [line.get("trace_id") for line in log_lines() if line["event"] == "call"]
    assert sorted(logged, key=str) == sorted([*traces.values(), None], key=str)


async def test_a_defect_and_a_cancelled_call_have_their_trace(
    log_lines: LogLines, desk: Desk, desk_pipeline: Pipeline
) -> None:
    await desk_pipeline.carry_out(get("broken", **PARENT))
    cancelled = asyncio.create_task(desk_pipeline.carry_out(get("slow", **PARENT)))
    await desk.until(lambda: "slow" in desk.begun)
    cancelled.cancel()
    await asyncio.wait((cancelled,))
    assert [(line["event"], line["trace_id"]) for line in log_lines()] == [
        ("defect", TRACE),
        ("call", TRACE),
        ("call", TRACE),
    ]
