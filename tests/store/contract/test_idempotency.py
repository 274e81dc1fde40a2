"""The contract of every store for idempotency keys, on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from backup_sharing.errors import AlreadyShared, IdempotencyKeyReused
from backup_sharing.model import Sharing
from backup_sharing.rules.commands import Idempotency, PutBackup
from backup_sharing.store.interface import Store
from tests.store.commands import (
    NOW,
    OTHER,
    RECIPIENT,
    SECOND,
    backup,
    backup_id,
    cancel,
    cancel_all,
    cause,
    key,
    share,
)
from tests.store.engines import Engine

pytestmark = pytest.mark.asyncio

Call = Callable[[Store, Idempotency], Awaitable[Sequence[Sharing]]]

CALLS: dict[str, Call] = {
    "share": lambda store, idempotency: store.share(share(OTHER, idempotency=idempotency)),
    "cancel": lambda store, idempotency: store.cancel(cancel("first", idempotency=idempotency)),
    "cancel_all": lambda store, idempotency: store.cancel_all(cancel_all(idempotency=idempotency)),
}


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> Call:
    return CALLS[request.param]


@pytest.fixture
async def shared(store: Store) -> Store:
    """Return a store with one sharing, whose id is ``first``."""
    await store.share(share(RECIPIENT, sharing_ids=["first"]))
    return store


async def test_the_same_key_must_give_the_first_answer_again(shared: Store, engine: Engine, call: Call) -> None:
    first = await call(shared, key())
    events = engine.events()
    assert await call(shared, key()) == first
    assert engine.events() == events


async def test_another_store_must_give_the_first_answer_again(shared: Store, engine: Engine, call: Call) -> None:
    first = await call(shared, key())
    assert await call(await engine.open(), key()) == first


async def test_the_first_answer_must_come_again_after_a_cancel(shared: Store) -> None:
    first = await shared.share(share(OTHER, idempotency=key()))
    await shared.cancel_all(cancel_all())
    assert await shared.share(share(OTHER, idempotency=key())) == first


async def test_another_fingerprint_must_raise_idempotency_key_reused(shared: Store) -> None:
    await shared.share(share(OTHER, idempotency=key()))
    with pytest.raises(IdempotencyKeyReused):
        await shared.share(share(OTHER, idempotency=key(fingerprint=b"another")))
    with pytest.raises(IdempotencyKeyReused):
        await shared.cancel_all(cancel_all(idempotency=key(fingerprint=b"another")))


async def test_a_failure_must_not_be_stored_with_its_key(shared: Store) -> None:
    with pytest.raises(AlreadyShared):
        await shared.share(share(RECIPIENT, idempotency=key()))
    await shared.cancel_all(cancel_all())
    (again,) = await shared.share(share(RECIPIENT, sharing_ids=["second"], idempotency=key()))
    assert again.id == "second"


async def test_a_second_call_must_wait_for_the_first_and_its_answer(shared: Store, engine: Engine) -> None:
    other = await engine.open()
    calls = [each.share(share(OTHER, idempotency=key())) for each in (shared, other) for _ in range(10)]
    answers = await asyncio.gather(*calls)
    assert all(answer == answers[0] for answer in answers)
    assert len(engine.history()) == 2


async def test_an_expired_key_must_count_as_never_used(shared: Store) -> None:
    await shared.share(share(OTHER, idempotency=key(expires_at=NOW + SECOND)))
    await shared.cancel_all(cancel_all())
    late = share(
        OTHER,
        sharing_ids=["second"],
        because=cause(NOW + SECOND),
        idempotency=key(fingerprint=b"another", expires_at=NOW + 9 * SECOND),
    )
    (second,) = await shared.share(late)
    assert second.id == "second"
    assert await shared.share(late) == [second]


async def test_the_scope_of_a_key_is_project_and_method(shared: Store) -> None:
    await shared.put_backup(PutBackup(backup(backup_id(2), project_id=OTHER), cause()))
    await shared.share(share(OTHER, idempotency=key(method="Share")))
    assert await shared.cancel_all(cancel_all(idempotency=key(method="CancelAll", fingerprint=b"another")))
    await shared.share(
        share(
            RECIPIENT,
            giver=OTHER,
            backup_id=backup_id(2),
            because=cause(project_id=OTHER),
            idempotency=key(method="Share", fingerprint=b"another"),
        )
    )
