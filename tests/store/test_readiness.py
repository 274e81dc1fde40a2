"""`backup_sharing.store.readiness`: a store waits for a database that is not usable yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from backup_sharing.errors import Unavailable
from backup_sharing.store import readiness
from backup_sharing.store.readiness import Readiness
from backup_sharing.store.unusable import FailingDatabase, UnreachableDatabase, UnusableDatabase

pytestmark = pytest.mark.asyncio

DISK = FailingDatabase("here", "its disk fails")
AWAY = UnreachableDatabase("there", "nobody answers")
ODD = UnusableDatabase("there", "is odd")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(readiness, "TRY_EVERY", 0.001)


def finds(*found: Sequence[str] | Exception) -> Callable[[], Awaitable[Sequence[str]]]:
    """Return a function that returns or raises ``found`` one by one, and then returns no missing migrations."""
    left = list(found)

    async def look() -> Sequence[str]:
        here = left.pop(0) if left else ()
        if isinstance(here, Exception):
            raise here
        return here

    return look


async def refusals(readiness: Readiness) -> list[str]:
    """Return the distinct messages that callers get until the database is ready."""
    reported: list[str] = []
    async with asyncio.timeout(30):
        while not readiness.is_ready:
            with pytest.raises(Unavailable) as refused:
                readiness.check()
            if str(refused.value) not in reported:
                reported.append(str(refused.value))
            await asyncio.sleep(0)
    readiness.check()
    await readiness.close()
    return reported


async def test_a_database_that_is_ready_is_not_looked_at_again() -> None:
    readiness = Readiness(finds((), AWAY))
    await readiness.open()
    await asyncio.sleep(0.02)
    assert await refusals(readiness) == []


async def test_callers_are_told_what_the_database_lacks_by_then() -> None:
    readiness = Readiness(finds(AWAY, AWAY, DISK, ["0002_more"]))
    await readiness.open()
    reported = await refusals(readiness)
    assert [next(word for word in ("reached", "disk", "migrated") if word in text) for text in reported] == [
        "reached",
        "disk",
        "migrated",
    ]


@pytest.mark.parametrize("first", [DISK, AWAY, ["0002_more"]])
async def test_whatever_fails_later_is_tried_again(first: Sequence[str] | Exception) -> None:
    readiness = Readiness(finds(first, ODD, RuntimeError("a defect"), ODD))
    await readiness.open()
    assert len(await refusals(readiness)) == 1


async def test_a_database_that_is_of_no_use_is_refused_at_once() -> None:
    with pytest.raises(UnusableDatabase, match="odd"):
        await Readiness(finds(ODD)).open()


@pytest.mark.parametrize(
    ("found", "levels"),
    [
        ([DISK] * 5, ["ERROR", "WARNING"]),
        ([AWAY] * 5, ["ERROR", "INFO"]),
        ([["0002_more"]] * 5, ["WARNING", "INFO"]),
        ([["0002_more"], ODD, ODD, ["0003_other"]], ["WARNING", "ERROR", "WARNING", "INFO"]),
    ],
)
async def test_each_reason_is_logged_once(
    found: Sequence[Sequence[str] | Exception], levels: Sequence[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    readiness = Readiness(finds(*found))
    await readiness.open()
    await refusals(readiness)
    assert [record.levelname for record in caplog.records] == levels
