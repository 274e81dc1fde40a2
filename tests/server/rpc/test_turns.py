"""Turns: a call waits only behind calls of its own project."""

from __future__ import annotations

import asyncio
import time

import pytest
from google.protobuf.message import Message

from backup_sharing.rpc.admission.turns import COST_OF_ALL, cost_of, turns_for
from backup_sharing.rpc.pipeline import Pipeline, PipelineResult, ServedMethod
from backup_sharing.rpc.sharing_service import SharingService
from backup_sharing.timers import Timed, Timers
from backup_sharing.usecases.sharing import Caller
from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.server.calls import CANCEL, COUNT, GIVERS_TOKEN, SHARE, call, failure
from tests.server.identities import BACKUP, GIVER, MADE_REQUEST_ID, RECIPIENT, identity, projects

COUNT_OF_GIVER = pb.CountSharingsRequest(project_id=GIVER)
SHARE_OF_GIVER = pb.ShareBackupRequest(project_id=GIVER)


class Desk:
    """Methods that count and share; their calls block until `answers`."""

    def __init__(self, max_seconds: float = 30.0) -> None:
        self.begun: list[Caller] = []
        self.let_go = asyncio.Event()
        count = ServedMethod(COUNT, pb.CountSharingsRequest, _project, self._handle)
        share = ServedMethod(SHARE, pb.ShareBackupRequest, _project, self._handle, lambda _: {}, _recipients)
        self.pipeline = Pipeline(
            [count, share],
            identity(),
            1.0,
            lambda: MADE_REQUEST_ID,
            turns=turns_for(reads=2, waiting_of_project=100),
            max_seconds=max_seconds,
        )
        self._tasks: list[asyncio.Task[PipelineResult]] = []

    async def call(
        self, method: str, request: Message, token: str = GIVERS_TOKEN, times: int = 1, deadline: float | None = None
    ) -> list[asyncio.Task[PipelineResult]]:
        """Start calls, and let them run until they wait."""
        made = call(method, request, token, deadline=deadline)
        tasks = [asyncio.create_task(self.pipeline.carry_out(made)) for _ in range(times)]
        self._tasks += tasks
        for _ in range(5):
            await asyncio.sleep(0)
        return tasks

    def begun_by(self, project_id: str) -> int:
        return sum(caller.principal.project_id == project_id for caller in self.begun)

    async def answers(self) -> list[PipelineResult]:
        self.let_go.set()
        return await asyncio.gather(*self._tasks)

    async def _handle(self, caller: Caller, _: Message) -> Message:
        self.begun.append(caller)
        await self.let_go.wait()
        return pb.CountSharingsResponse()


def _project(request: pb.CountSharingsRequest) -> str:
    return request.project_id


def _recipients(request: pb.ShareBackupRequest) -> int:
    return cost_of(len(request.shared.to_project_ids))


def shared_with(number: int) -> pb.ShareBackupRequest:
    shared = pb.BackupRecipients(backup_id=BACKUP, to_project_ids=projects(number))
    return pb.ShareBackupRequest(project_id=GIVER, shared=shared)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize("request_", [COUNT_OF_GIVER, SHARE_OF_GIVER])
async def test_many_calls_of_one_project_keep_no_other_waiting(desk: Desk, request_: Message) -> None:
    method = COUNT if request_ is COUNT_OF_GIVER else SHARE
    await desk.call(method, request_, times=90)
    assert desk.begun_by(GIVER) < 90
    other = type(request_)(project_id=RECIPIENT)
    await desk.call(method, other, "recipient-token")
    assert desk.begun_by(RECIPIENT) == 1
    assert all(answer.status is None for answer in await desk.answers())


async def test_one_project_does_not_get_all_that_reads(desk: Desk) -> None:
    await desk.call(COUNT, COUNT_OF_GIVER, times=10)
    assert desk.begun_by(GIVER) == 1
    await desk.answers()


async def test_64_small_changes_of_one_project_go_on_at_once(desk: Desk) -> None:
    await desk.call(SHARE, shared_with(1), times=80)
    assert desk.begun_by(GIVER) == 64
    await desk.answers()


async def test_changes_count_by_what_they_name(desk: Desk) -> None:
    await desk.call(SHARE, shared_with(30), times=5)
    assert desk.begun_by(GIVER) == 2
    await desk.answers()


async def test_a_change_as_large_as_can_be_keeps_no_other_waiting(desk: Desk) -> None:
    await desk.call(SHARE, shared_with(1000), times=3)
    assert desk.begun_by(GIVER) == 1
    other = pb.ShareBackupRequest(project_id=RECIPIENT, shared=shared_with(1000).shared)
    await desk.call(SHARE, other, "recipient-token")
    assert desk.begun_by(RECIPIENT) == 1
    assert [answer.status for answer in await desk.answers()] == [None] * 4


async def test_reads_of_a_project_do_not_wait_for_its_changes(desk: Desk) -> None:
    await desk.call(SHARE, shared_with(1), times=80)
    before = len(desk.begun)
    await desk.call(COUNT, COUNT_OF_GIVER)
    assert len(desk.begun) == before + 1
    await desk.answers()


async def test_calls_wait_by_who_calls_not_by_whose_affairs(desk: Desk) -> None:
    await desk.call(COUNT, COUNT_OF_GIVER, "admin-token", times=20)
    await desk.call(COUNT, COUNT_OF_GIVER)
    assert desk.begun_by(GIVER) == 1
    await desk.answers()


async def test_a_forbidden_call_does_not_wait(desk: Desk) -> None:
    await desk.call(COUNT, COUNT_OF_GIVER, "recipient-token", times=20)
    (refused,) = await desk.call(COUNT, COUNT_OF_GIVER, "recipient-token")
    assert failure(await refused).reason == "PROJECT_FORBIDDEN"


async def test_a_change_without_a_turn_by_its_margin_is_not_made(desk: Desk) -> None:
    await desk.call(SHARE, shared_with(1), times=64)
    (late,) = await desk.call(SHARE, shared_with(1), deadline=time.monotonic() + 1.0)
    assert failure(await late).reason == "DEADLINE_TOO_CLOSE"
    assert desk.begun_by(GIVER) == 64
    await desk.answers()


async def test_a_change_waits_for_its_turn_until_its_margin(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    set_timer = Timers.set

    def noted(timers: Timers, when: float, timed: Timed) -> int:
        limits.append(when)
        return set_timer(timers, when, timed)

    monkeypatch.setattr(Timers, "set", noted)
    soon, later = time.monotonic() + 20.0, time.monotonic() + 29.0
    await desk.call(SHARE, shared_with(1), deadline=soon)
    await desk.call(COUNT, COUNT_OF_GIVER, deadline=later)
    assert limits == [soon - 1.0, later]
    await desk.answers()


@pytest.mark.parametrize("deadline", [None, 1e9])
async def test_no_call_takes_longer_than_a_call_may(deadline: float | None) -> None:
    desk = Desk(max_seconds=60.0)
    await desk.call(SHARE, shared_with(1), deadline=deadline)
    (caller,) = desk.begun
    assert caller.commit_by is not None
    assert caller.commit_by <= time.monotonic() + 60.0
    await desk.answers()


def cost(method: str, request: Message) -> int:
    (found,) = (each for each in SharingService(None).methods() if each.name == method)  # type: ignore[arg-type]  # the use cases are not used
    assert found.cost is not None
    return found.cost(request)


@pytest.mark.parametrize(
    ("method", "request_", "expected"),
    [
        (SHARE, shared_with(0), 1),
        (SHARE, shared_with(1), 1),
        (SHARE, shared_with(64), 64),
        (SHARE, shared_with(1000), 64),
        (CANCEL, pb.CancelSharingRequest(), 1),
        (CANCEL, pb.CancelSharingRequest(is_backup_id=True), COST_OF_ALL),
    ],
)
def test_a_change_costs_by_what_it_can_change(method: str, request_: Message, expected: int) -> None:
    assert cost(method, request_) == expected
