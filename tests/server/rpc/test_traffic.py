"""Messages that do not arrive, and memory for large messages."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from restmap.multiplexing import traffic as of_traffic
from restmap.multiplexing.call_handler import ResourceExhausted
from restmap.multiplexing.traffic import SMALL, Bounds, Traffic, resident_bytes

PATIENCE = 30.0
MIB = 1024 * 1024


class Context:
    """A call whose message arrives when the test sets it."""

    def __init__(self) -> None:
        self.message: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def read(self) -> object:
        return await self.message


class Resident:
    """The resident memory of the process, as set by the test."""

    def __init__(self) -> None:
        self.bytes = 100 * MIB

    def __call__(self) -> int:
        return self.bytes


@pytest.fixture
def resident() -> Resident:
    return Resident()


@pytest.fixture(autouse=True)
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restmap.multiplexing.traffic.TICK_SECONDS", 0.001)


def received(traffic: Traffic, context: Context) -> asyncio.Task[bytes | None]:
    return asyncio.create_task(traffic.receive(context))  # type: ignore[arg-type] # the part of a context that is used


def frame_of(traffic: Traffic, context: Context, *, busy: bool) -> asyncio.Task[bytes | None]:
    return asyncio.create_task(traffic.receive_frame(context, lambda: busy))  # type: ignore[arg-type] # as above


async def refusal(task: asyncio.Task[Any]) -> str:
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ResourceExhausted) as refused:
            await task
    return refused.value.message


async def test_a_message_is_received_as_it_is() -> None:
    traffic, context = Traffic(), Context()
    task = received(traffic, context)
    context.message.set_result(b"message")
    assert await task == b"message"


async def test_a_call_without_a_message_has_none() -> None:
    traffic, context = Traffic(), Context()
    task = received(traffic, context)
    context.message.set_result(grpc.aio.EOF)
    assert await task is None


async def test_the_oldest_of_too_many_arrivals_is_given_up() -> None:
    traffic, contexts = Traffic(Bounds(arriving=3)), [Context() for _ in range(4)]
    tasks = [received(traffic, context) for context in contexts]
    assert "no more room" in await refusal(tasks[0])
    for context in contexts[1:]:
        context.message.set_result(b"whole")
    assert await asyncio.gather(*tasks[1:]) == [b"whole"] * 3


async def test_a_message_that_takes_too_long_is_given_up() -> None:
    await refusal(received(Traffic(Bounds(arrival_seconds=0.01)), Context()))


async def test_a_message_is_given_up_when_memory_grows(resident: Resident) -> None:
    task = received(Traffic(Bounds(growth=MIB), resident), Context())
    await asyncio.sleep(0)
    resident.bytes += 2 * MIB
    await refusal(task)


async def test_an_idle_stream_is_given_up_before_a_busy_one(resident: Resident) -> None:
    traffic = Traffic(Bounds(growth=MIB), resident)
    busy, idle = frame_of(traffic, Context(), busy=True), frame_of(traffic, Context(), busy=False)
    await asyncio.sleep(0)
    resident.bytes += MIB + 1
    await refusal(idle)
    assert not busy.done()
    resident.bytes += MIB + 1
    await refusal(busy)


async def test_what_others_made_memory_grow_does_not_end_a_busy_stream(resident: Resident) -> None:
    traffic, context = Traffic(Bounds(growth=MIB), resident), Context()
    busy, others = frame_of(traffic, context, busy=True), [received(traffic, Context()) for _ in range(5)]
    await asyncio.sleep(0)
    resident.bytes += 50 * MIB
    for other in others:
        await refusal(other)
    await refusal(received(Traffic(Bounds(arrival_seconds=0.01)), Context()))  # some checks later
    context.message.set_result(b"frame")
    assert await busy == b"frame"


async def test_a_stream_may_be_silent_for_any_time() -> None:
    traffic, context = Traffic(Bounds(arrival_seconds=0.0)), Context()
    task = frame_of(traffic, context, busy=False)
    await refusal(received(traffic, Context()))  # which is checked after the stream
    context.message.set_result(b"frame")
    assert await task == b"frame"


async def test_a_call_that_is_cancelled_is_not_refused() -> None:
    task = received(Traffic(), Context())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_large_messages_are_held_up_to_the_bounds() -> None:
    traffic = Traffic(Bounds(held=5 * MIB, held_by_peer=3 * MIB))
    assert traffic.hold("a", 2 * MIB) == 2 * MIB
    with pytest.raises(ResourceExhausted):
        traffic.hold("a", 2 * MIB)
    assert traffic.hold("b", 3 * MIB) == 3 * MIB
    with pytest.raises(ResourceExhausted):
        traffic.hold("c", MIB)
    traffic.release("b", 3 * MIB)
    assert traffic.hold("c", MIB) == MIB


def test_small_messages_are_not_counted() -> None:
    traffic = Traffic(Bounds(held=0))
    assert [traffic.hold("a", SMALL) for _ in range(100)] == [0] * 100


@pytest.mark.parametrize("content", [None, b"", b"hidden", b"1 x"])
def test_memory_that_is_not_reported_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "statm").write_bytes(content)
    monkeypatch.setattr(of_traffic, "_STATM", tmp_path / "statm")
    assert resident_bytes() == 0
