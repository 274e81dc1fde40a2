"""Thousands of random calls by several projects over REST and gRPC, checked against a model: projects stay isolated."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from contextlib import aclosing

import aiohttp
import grpc

from tests.support.effort import cases
from tests.support.system import SERVICE_TOKEN, Project, System
from tests.system.e2e.calls.tenancy_apis import Grpc, Refused, Rest
from tests.system.e2e.calls.tenancy_model import ActiveSharing, Happened, Model, Seen, seen_of

MOST_CALLS = 2500
CALLS = cases(MOST_CALLS)


PATIENCE = 120
"""Seconds after which a watch that misses its last event fails the test."""

START: tuple[int, str | None] = 0, None
"""Nothing was watched yet."""


def place(cursor: str) -> int:
    return int(cursor.partition(":")[2])


async def watched(
    api: Rest | Grpc, by: Project | str, at: Project, cursor: str | None, expected: list[Seen]
) -> tuple[int, str]:
    """Watch up to the newest event: exactly the expected events must come; return the status and the last cursor."""
    status, events, cursor, is_up_to_date = await received(api, by, at, cursor, len(expected))
    assert events == (expected if status == 200 else [])
    if status == 200 and not is_up_to_date:
        # A watch tells at once that it is up to date only if no event came before.
        _, events, cursor, is_up_to_date = await received(api, by, at, cursor, 1)
        assert (events, is_up_to_date) == ([], True)
    return status, cursor


async def received(
    api: Rest | Grpc, by: Project | str, at: Project, cursor: str | None, most: int
) -> tuple[int, list[Seen], str, bool]:
    """Watch until there are ``most`` events, or one if it is 0, or a message has no event.

    Return the status, the events, the last cursor, and whether the last message had no event.
    """
    events: list[Seen] = []
    try:
        async with aclosing(api.watch(by, at, cursor)) as messages:
            async for message in messages:
                cursor, event = message["cursor"], message.get("event")
                if event is not None:
                    assert event["cursor"] == cursor
                    events.append(seen_of(event))
                if event is None or len(events) >= max(most, 1):
                    return 200, events, str(cursor), event is None
    except Refused as refused:
        return refused.status, [], "", False
    raise AssertionError("the watch ended")


async def followed(api: Rest | Grpc, project: Project, last_backup: str) -> list[Seen]:
    """Watch from the beginning until the first event of a backup."""
    events: list[Seen] = []
    async with aclosing(api.watch(project, project, None)) as messages:
        async for message in messages:
            if "event" in message:
                events.append(seen_of(message["event"]))
                if message["event"]["backup_id"] == last_backup:
                    break
    return events


class Game:
    """Makes random calls and compares the responses with the model."""

    def __init__(self, system: System, apis: tuple[Rest, Grpc], seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a game
        self._system = system
        self._apis = apis
        self._grpc = apis[1]
        self._projects = [system.new_project() for _ in range(4)]
        self._model = Model()
        for project in self._projects:
            for _ in range(3):
                self._put_backup(project, str(uuid.uuid4()))
        self._watched: dict[Project, tuple[int, str | None]] = {}
        """Number of its events that a project has watched, and the cursor behind them."""
        self._following: dict[Project, tuple[str, asyncio.Task[list[Seen]]]] = {}
        """By project: the id of its last backup, and the watch that ends with it."""
        self.seen: dict[tuple[str, int], int] = {}

    async def play(self, calls: int) -> None:
        moves: list[Callable[..., object]] = [self._share, self._share, self._get, self._get, self._cancel]
        moves += [self._cancel_all, self._list, self._count, self._events, self._check, self._check_all, self._watch]
        for _ in range(calls):
            api, by = self._random.choice(self._apis), self._random.choice(self._projects)
            at = by if self._random.random() < 0.9 else self._random.choice(self._projects)
            move = self._random.choice(moves)
            expected, status = await move(api, by, at)  # type: ignore[misc]
            is_of_one_project = move.__name__ not in ("_check", "_check_all")
            assert status == (expected if by == at or not is_of_one_project else 403), (move.__name__, by, at)
            key = (move.__name__, status)
            self.seen[key] = self.seen.get(key, 0) + 1

    def follow(self) -> None:
        """Begin a watch of each project, which goes on during the game."""
        for number, project in enumerate(self._projects):
            last = str(uuid.uuid4())
            following = followed(self._apis[number % 2], project, last)
            self._following[project] = last, asyncio.create_task(following)

    async def end(self) -> None:
        """Check what the watches since `follow` have received."""
        for project, (last, _) in self._following.items():
            self._put_backup(project, last)
        for project, (_, following) in self._following.items():
            async with asyncio.timeout(PATIENCE):
                assert await following == self._model.watched(project)

    def _put_backup(self, owner: Project, backup_id: str) -> None:
        self._system.put_backup(owner, id=backup_id)
        self._model.owners[backup_id] = owner
        self._model.happened.append(Happened("backup_put", backup_id, owner))

    def _sharing_id(self) -> str:
        ids = [*self._model.active, *self._model.ended[-3:], str(uuid.uuid4())]
        return self._random.choice(ids)

    def _backup_id(self) -> str:
        return self._random.choice([*self._model.owners, str(uuid.uuid4())])

    async def _share(self, api: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        backup_id = self._backup_id()
        others = [project for project in self._projects if project != at]
        to = self._random.sample(others, self._random.randint(1, 3))
        expected = 200
        if self._model.owners.get(backup_id) != at:
            expected = 404
        elif self._model.recipients(backup_id) & set(to):
            expected = 409
        status, ids = await api.share(by, at, backup_id, to)
        for project in to if status == 200 else ():
            sharing_id = ids[project.id]
            sharing = self._model.active[sharing_id] = ActiveSharing(sharing_id, backup_id, at, project)
            self._model.record("shared", sharing)
        return expected, status

    async def _get(self, api: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        sharing_id = self._sharing_id()
        sharing = self._model.active.get(sharing_id)
        expected = 200 if sharing is not None and at in (sharing.giver, sharing.recipient) else 404
        status, message = await api.get(by, at, sharing_id)
        if status == 404:  # same message for another project's, a cancelled and an unknown sharing
            assert message == f"Sharing {sharing_id} could not be found."
        return expected, status

    async def _cancel(self, api: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        sharing_id = self._sharing_id()
        sharing = self._model.active.get(sharing_id)
        expected = 404
        if sharing is not None and at in (sharing.giver, sharing.recipient):
            expected = 200 if at == sharing.giver else 403
        status, message = await api.cancel(by, at, sharing_id, of_backup=False)
        if status == 200:
            self._model.end(sharing_id)
        if status == 404:
            assert message == f"Sharing {sharing_id} could not be found."
        return expected, status

    async def _cancel_all(self, api: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        backup_id = self._backup_id()
        expected = 200 if self._model.owners.get(backup_id) == at else 404
        status, message = await api.cancel(by, at, backup_id, of_backup=True)
        if status == 200:
            ended = [each.id for each in self._model.active.values() if each.backup_id == backup_id]
            for sharing_id in sorted(ended):
                self._model.end(sharing_id)
        if status == 404:
            assert message == f"Backup {backup_id} could not be found."
        return expected, status

    async def _list(self, api: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        received = self._random.random() < 0.5
        status, ids = await api.list(by, at, received=received)
        if status == 200:
            assert ids == (self._model.received(at) if received else self._model.given(at))
        return 200, status

    async def _count(self, api: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        received = self._random.random() < 0.5
        status, count = await api.count(by, at, received=received)
        if status == 200:
            assert count == len(self._model.received(at) if received else self._model.given(at))
        return 200, status

    async def _events(self, api: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        backup_id, other, sharing_id = self._backup_id(), self._random.choice(self._projects), self._sharing_id()
        query, expected = self._random.choice(
            [
                ({}, self._model.events(at)),
                ({"limit": "40"}, self._model.events(at)),
                ({"sort_dir": "asc"}, self._model.events(at)[::-1]),
                ({"backup_id": backup_id}, [each for each in self._model.events(at) if each[1] == backup_id]),
                ({"sharing_id": sharing_id}, [each for each in self._model.events(at) if each[2] == sharing_id]),
                ({"kind": "cancelled"}, [each for each in self._model.events(at) if each[0] == "cancelled"]),
                (
                    {"other_project_id": other.id},
                    [each for each in self._model.events(at) if other != at and other.id in each[3:5]],
                ),
            ]
        )
        status, found = await api.events(by, at, query)
        if status == 200:
            assert found == expected, query
        return 200, status

    async def _watch(self, api: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        """Watch on after the last watch, or from the beginning, up to the newest event."""
        begin, cursor = self._watched.get(at, START) if self._random.random() < 0.8 else START
        newest = place(await self._grpc.newest(at))
        expected = self._model.watched(at)[begin:]
        status, end = await watched(api, by, at, cursor, expected)
        if status == 200:
            assert place(end) >= newest  # tests of other projects may add events
            self._watched[at] = begin + len(expected), end
            of_service = self._model.watched(at, by_service=True)[begin:]
            await watched(self._grpc, SERVICE_TOKEN, at, cursor, of_service)
        return 200, status

    def _pair(self) -> tuple[str, str]:
        return self._backup_id(), self._random.choice([*self._projects, Project("f" * 32)]).id

    async def _check(self, _door: Rest | Grpc, by: Project, _at: Project) -> tuple[int, int]:
        backup_id, project_id = self._pair()
        told = await self._grpc.check(by, backup_id, project_id)
        assert told == self._model.told(by, project_id, backup_id)
        assert await self._grpc.check(SERVICE_TOKEN, backup_id, project_id) == self._model.may_read(
            project_id, backup_id
        )
        self.seen["told", 1 if told else 0] = 1
        return 200, 200

    async def _check_all(self, _door: Rest | Grpc, by: Project, _at: Project) -> tuple[int, int]:
        pairs = [self._pair() for _ in range(self._random.randint(1, 40))]
        told = [self._model.told(by, project_id, backup_id) for backup_id, project_id in pairs]
        assert await self._grpc.check_all(by, pairs) == told
        every = [self._model.may_read(project_id, backup_id) for backup_id, project_id in pairs]
        assert await self._grpc.check_all(SERVICE_TOKEN, pairs) == every
        return 200, 200


EVERY = {
    ("_share", 200),
    ("_share", 404),
    ("_share", 409),
    ("_get", 200),
    ("_get", 404),
    ("_cancel", 200),
    ("_cancel", 403),
    ("_cancel", 404),
    ("_cancel_all", 200),
    ("_cancel_all", 404),
    ("_list", 200),
    ("_count", 200),
    ("_get", 403),
    ("_list", 403),
    ("_events", 200),
    ("_events", 403),
    ("_watch", 200),
    ("_watch", 403),
    ("told", 0),
    ("told", 1),
    ("_check_all", 200),
}
"""Kinds of calls and their statuses, all of which must occur."""


async def test_random_calls_of_several_projects_leak_nothing(system: System) -> None:
    async with (
        aiohttp.ClientSession() as session,
        grpc.aio.insecure_channel(system.grpc_address) as channel,
    ):
        game = Game(system, (Rest(system, session), Grpc(channel)), seed=20261124)
        game.follow()
        await game.play(CALLS)
        for _ in range(CALLS, MOST_CALLS, 100):
            if game.seen.keys() >= EVERY:
                break
            await game.play(100)
        await game.end()
    assert game.seen.keys() >= EVERY
