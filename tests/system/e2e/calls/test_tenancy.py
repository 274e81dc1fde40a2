"""Thousands of random calls by several projects over REST and gRPC, checked against a model: projects stay isolated."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
import grpc

from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2.backup_sharing_pb2_grpc import BackupSharingServiceStub
from tests.support.house import House, Project

CALLS = 2500
STATUS = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
}


@dataclass
class Standing:
    """Active sharing."""

    id: str
    backup_id: str
    giver: Project
    recipient: Project


@dataclass
class Model:
    """Expected sharings, and those visible to each project."""

    owners: dict[str, Project] = field(default_factory=dict)
    standing: dict[str, Standing] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)

    def given(self, by: Project) -> set[str]:
        return {sharing.id for sharing in self.standing.values() if sharing.giver == by}

    def received(self, by: Project) -> set[str]:
        return {sharing.id for sharing in self.standing.values() if sharing.recipient == by}

    def end(self, sharing_id: str) -> None:
        del self.standing[sharing_id]
        self.ended.append(sharing_id)

    def recipients(self, backup_id: str) -> set[Project]:
        return {sharing.recipient for sharing in self.standing.values() if sharing.backup_id == backup_id}


class Rest:
    """Calls over REST; each returns the status and the relevant part of the response."""

    def __init__(self, house: House, session: aiohttp.ClientSession) -> None:
        self._base = f"http://{house.rest.address}"
        self._session = session

    async def _call(
        self, method: str, by: Project, path: str, body: object = None
    ) -> tuple[int, dict[str, object], str]:
        headers = {"X-Auth-Token": by.token}
        async with self._session.request(method, f"{self._base}{path}", headers=headers, json=body) as response:
            answered = await response.json() if response.content_length else {}
            return response.status, answered, str(answered.get("error", {}).get("message", ""))

    async def share(self, by: Project, at: Project, backup_id: str, to: list[Project]) -> tuple[int, dict[str, str]]:
        body = {"shared": {"backup_id": backup_id, "to_project_ids": [project.id for project in to]}}
        status, answered, _ = await self._call("POST", by, at.path, body)
        shared = answered.get("shared", [])
        return status, {entry["to_project_id"]: entry["id"] for entry in shared}  # type: ignore[attr-defined, index]

    async def get(self, by: Project, at: Project, sharing_id: str) -> tuple[int, str]:
        status, _, message = await self._call("GET", by, f"{at.path}/{sharing_id}")
        return status, message

    async def cancel(self, by: Project, at: Project, identifier: str, *, of_backup: bool) -> tuple[int, str]:
        query = "?is_backup_id=true" if of_backup else ""
        status, _, message = await self._call("DELETE", by, f"{at.path}/{identifier}{query}")
        return status, message

    async def list(self, by: Project, at: Project, *, received: bool) -> tuple[int, set[str]]:
        query = "?share_to_me=true" if received else ""
        status, answered, _ = await self._call("GET", by, f"{at.path}/detail{query}")
        return status, {entry["id"] for entry in answered.get("shared", [])}  # type: ignore[attr-defined]

    async def count(self, by: Project, at: Project, *, received: bool) -> tuple[int, int]:
        query = "?share_to_me=true" if received else ""
        status, answered, _ = await self._call("GET", by, f"{at.path}/count{query}")
        return status, int(answered.get("count", -1))  # type: ignore[call-overload]


class Grpc:
    """Calls over gRPC; each returns the same as over REST."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = BackupSharingServiceStub(channel)

    async def _call(self, name: str, by: Project, request: object) -> tuple[int, object, str]:
        try:
            answered = await getattr(self._stub, name)(request, metadata=[("x-auth-token", by.token)])
        except grpc.aio.AioRpcError as error:
            return STATUS[error.code()], None, error.details() or ""
        return 200, answered, ""

    async def share(self, by: Project, at: Project, backup_id: str, to: list[Project]) -> tuple[int, dict[str, str]]:
        shared = pb.BackupRecipients(backup_id=backup_id, to_project_ids=[project.id for project in to])
        status, answered, _ = await self._call(
            "ShareBackup", by, pb.ShareBackupRequest(project_id=at.id, shared=shared)
        )
        return status, {sharing.to_project_id: sharing.id for sharing in getattr(answered, "shared", ())}

    async def get(self, by: Project, at: Project, sharing_id: str) -> tuple[int, str]:
        status, _, message = await self._call("GetSharing", by, pb.GetSharingRequest(project_id=at.id, id=sharing_id))
        return status, message

    async def cancel(self, by: Project, at: Project, identifier: str, *, of_backup: bool) -> tuple[int, str]:
        request = pb.CancelSharingRequest(project_id=at.id, id=identifier, is_backup_id=of_backup)
        status, _, message = await self._call("CancelSharing", by, request)
        return status, message

    async def list(self, by: Project, at: Project, *, received: bool) -> tuple[int, set[str]]:
        request = pb.ListSharingsRequest(project_id=at.id, share_to_me=received)
        status, answered, _ = await self._call("ListSharings", by, request)
        return status, {detail.id for detail in getattr(answered, "shared", ())}

    async def count(self, by: Project, at: Project, *, received: bool) -> tuple[int, int]:
        request = pb.CountSharingsRequest(project_id=at.id, share_to_me=received)
        status, answered, _ = await self._call("CountSharings", by, request)
        return status, getattr(answered, "count", -1)


class Game:
    """Makes random calls and compares the responses with the model."""

    def __init__(self, house: House, doors: list[Rest | Grpc], seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a game
        self._house = house
        self._doors = doors
        self._projects = [house.new_project() for _ in range(4)]
        self._model = Model()
        for project in self._projects:
            for _ in range(3):
                self._model.owners[house.put_backup(project)] = project
        self.seen: dict[tuple[str, int], int] = {}

    async def play(self, calls: int) -> None:
        moves: list[Callable[..., object]] = [self._share, self._share, self._get, self._get, self._cancel]
        moves += [self._cancel_all, self._list, self._count]
        for _ in range(calls):
            door, by = self._random.choice(self._doors), self._random.choice(self._projects)
            at = by if self._random.random() < 0.9 else self._random.choice(self._projects)
            move = self._random.choice(moves)
            expected, status = await move(door, by, at)  # type: ignore[misc]
            assert status == (expected if by == at else 403), (move.__name__, by, at)
            key = (move.__name__, status)
            self.seen[key] = self.seen.get(key, 0) + 1

    def _sharing_id(self) -> str:
        ids = [*self._model.standing, *self._model.ended[-3:], str(uuid.uuid4())]
        return self._random.choice(ids)

    def _backup_id(self) -> str:
        return self._random.choice([*self._model.owners, str(uuid.uuid4())])

    async def _share(self, door: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        backup_id = self._backup_id()
        others = [project for project in self._projects if project != at]
        to = self._random.sample(others, self._random.randint(1, 3))
        expected = 200
        if self._model.owners.get(backup_id) != at:
            expected = 404
        elif self._model.recipients(backup_id) & set(to):
            expected = 409
        status, ids = await door.share(by, at, backup_id, to)
        for project in to if status == 200 else ():
            sharing_id = ids[project.id]
            self._model.standing[sharing_id] = Standing(sharing_id, backup_id, at, project)
        return expected, status

    async def _get(self, door: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        sharing_id = self._sharing_id()
        sharing = self._model.standing.get(sharing_id)
        expected = 200 if sharing is not None and at in (sharing.giver, sharing.recipient) else 404
        status, message = await door.get(by, at, sharing_id)
        if status == 404:  # same message for another project's, a cancelled and an unknown sharing
            assert message == f"Sharing {sharing_id} could not be found."
        return expected, status

    async def _cancel(self, door: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        sharing_id = self._sharing_id()
        sharing = self._model.standing.get(sharing_id)
        expected = 404
        if sharing is not None and at in (sharing.giver, sharing.recipient):
            expected = 200 if at == sharing.giver else 403
        status, message = await door.cancel(by, at, sharing_id, of_backup=False)
        if status == 200:
            self._model.end(sharing_id)
        if status == 404:
            assert message == f"Sharing {sharing_id} could not be found."
        return expected, status

    async def _cancel_all(self, door: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        backup_id = self._backup_id()
        expected = 200 if self._model.owners.get(backup_id) == at else 404
        status, message = await door.cancel(by, at, backup_id, of_backup=True)
        if status == 200:
            for sharing in [each for each in self._model.standing.values() if each.backup_id == backup_id]:
                self._model.end(sharing.id)
        if status == 404:
            assert message == f"Backup {backup_id} could not be found."
        return expected, status

    async def _list(self, door: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        received = self._random.random() < 0.5
        status, ids = await door.list(by, at, received=received)
        if status == 200:
            assert ids == (self._model.received(at) if received else self._model.given(at))
        return 200, status

    async def _count(self, door: Rest | Grpc, by: Project, at: Project) -> tuple[int, int]:
        received = self._random.random() < 0.5
        status, count = await door.count(by, at, received=received)
        if status == 200:
            assert count == len(self._model.received(at) if received else self._model.given(at))
        return 200, status


async def test_random_calls_of_several_projects_leak_nothing(house: House) -> None:
    async with (
        aiohttp.ClientSession() as session,
        grpc.aio.insecure_channel(house.grpc_address) as channel,
    ):
        game = Game(house, [Rest(house, session), Grpc(channel)], seed=20261124)
        await game.play(CALLS)
    every = {("_share", 200), ("_share", 404), ("_share", 409), ("_get", 200), ("_get", 404), ("_cancel", 200)}
    every |= {("_cancel", 403), ("_cancel", 404), ("_cancel_all", 200), ("_cancel_all", 404), ("_list", 200)}
    every |= {("_count", 200), ("_get", 403), ("_list", 403)}
    assert every <= game.seen.keys()
