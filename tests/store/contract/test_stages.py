"""The stages of a change, on every engine: slow calls and traces show them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from backup_sharing.errors import BackupNotFound
from backup_sharing.rules.commands import Share
from backup_sharing.store.interface import Store
from programkit.stages import Stages
from tests.store.commands import OTHER, RECIPIENT, backup_id, share

pytestmark = pytest.mark.asyncio

OF_A_COMMIT = ["checks", "waiting", "lock", "decision", "commit", "reply"]


def measured(command: Share) -> tuple[Share, Stages]:
    stages = Stages()
    return replace(command, cause=replace(command.cause, stages=stages)), stages


async def test_a_change_has_its_stages_in_order(store: Store) -> None:
    command, stages = measured(share())
    await store.share(command)
    found = stages.all()
    assert [stage.name for stage in found] == OF_A_COMMIT
    assert found[0].began == stages.began
    assert [stage.ended for stage in found[:-1]] == [stage.began for stage in found[1:]]
    assert stages.batch is not None
    assert stages.batch.size == 1


async def test_a_refused_change_has_its_stages_too(store: Store) -> None:
    command, stages = measured(share(backup_id=backup_id(404)))
    with pytest.raises(BackupNotFound):
        await store.share(command)
    names = [stage.name for stage in stages.all()]
    assert [names[0], names[1], names[-1]] == ["checks", "waiting", "reply"]


async def test_changes_of_one_batch_have_its_number_and_size(store: Store) -> None:
    first, one = measured(share(RECIPIENT))
    second, other = measured(share(OTHER, sharing_ids=["2"]))
    await asyncio.gather(store.share(first), store.share(second))
    third, later = measured(share(backup_id(7), sharing_ids=["3"]))
    await asyncio.gather(store.share(third), return_exceptions=True)
    assert one.batch is not None
    assert other.batch is not None
    assert later.batch is not None
    assert one.batch.number <= other.batch.number < later.batch.number
    assert one.batch.size == (2 if one.batch == other.batch else 1)


async def test_a_change_that_nobody_awaits_adds_no_stages_later(store: Store) -> None:
    command, stages = measured(share())
    making = asyncio.ensure_future(store.share(command))
    await asyncio.sleep(0)
    making.cancel()
    await asyncio.wait((making,))
    seen = stages.all()
    await asyncio.gather(store.share(share(OTHER, sharing_ids=["2"])), return_exceptions=True)
    assert stages.all() == seen
