"""Calls with little time: they have most of it, and a refusal names the time that was too short."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from google.protobuf.message import Message

from backup_sharing.identity.interface import Credentials
from backup_sharing.model import Principal
from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from backup_sharing.store.interface import SharingFilter, Store
from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.server.calls import COUNT, SHARE, call, failure, share_message
from tests.server.identities import GIVER, MADE_REQUEST_ID, identity

COUNT_OF_GIVER = pb.CountSharingsRequest(project_id=GIVER)


class Stuck:
    """An identity provider that never replies."""

    challenge = 'Token realm="backup-sharing"'

    async def identify(self, _: Credentials) -> Principal:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("seconds", [10.0, 25.0])
@pytest.mark.parametrize("margin", [20.0, 60.0])
async def test_a_deadline_shorter_than_the_margin_is_enough(
    methods: Sequence[ServedMethod], store: Store, seconds: float, margin: float
) -> None:
    pipeline = Pipeline(methods, identity(), margin, lambda: MADE_REQUEST_ID)
    answer = await pipeline.carry_out(call(SHARE, share_message(), deadline=time.monotonic() + seconds))
    assert answer.status is None
    assert await store.count_sharings(SharingFilter(GIVER)) == 1


def stuck(methods: Sequence[ServedMethod], margin: float) -> Pipeline:
    return Pipeline(methods, Stuck(), margin, lambda: MADE_REQUEST_ID)


@pytest.mark.parametrize(
    ("method", "request_message", "margin", "message"),
    [
        (
            SHARE,
            share_message(),
            1.0,
            "The call had 100 ms, of which the last 25 ms are kept to report the outcome, and could not be carried"
            " out in the first 75 ms; nothing was stored. Try again with a later deadline.",
        ),
        (
            SHARE,
            share_message(),
            0.01,
            "The call had 100 ms, of which the last 10 ms are kept to report the outcome, and could not be carried"
            " out in the first 90 ms; nothing was stored. Try again with a later deadline.",
        ),
        (
            COUNT,
            COUNT_OF_GIVER,
            1.0,
            "The call had 100 ms, and could not be carried out in that time; nothing was stored. Try again with a"
            " later deadline.",
        ),
    ],
    ids=["quarter", "margin", "read"],
)
async def test_the_refusal_names_the_time_that_was_too_short(
    methods: Sequence[ServedMethod],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    request_message: Message,
    margin: float,
    message: str,
) -> None:
    began = time.monotonic()
    late = call(method, request_message, deadline=began + 0.1)
    monkeypatch.setattr("backup_sharing.rpc.pipeline.time.monotonic", lambda: began + 0.0002)
    answering = asyncio.create_task(stuck(methods, margin).carry_out(late))
    await asyncio.sleep(0)
    monkeypatch.undo()
    answer = await answering
    assert answer.status is not None
    assert answer.status.message == message


async def test_a_deadline_that_had_passed_is_not_blamed_on_the_margin(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(SHARE, share_message(), deadline=time.monotonic()))
    assert answer.status is not None
    assert answer.status.message == (
        "The deadline had passed when the call arrived; nothing was stored. Try again with a later deadline."
    )
    assert failure(answer).reason == "DEADLINE_TOO_CLOSE"
