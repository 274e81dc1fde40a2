"""Thousands of random calls by several projects over REST and gRPC, checked against a model: projects stay isolated."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
import grpc
from google.protobuf.json_format import MessageToDict

from backupsharing.v2 import backup_access_pb2
from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2.backup_access_pb2_grpc import BackupAccessServiceStub
from backupsharing.v2.backup_sharing_pb2_grpc import BackupSharingServiceStub
from tests.support.effort import cases
from tests.support.system import SERVICE_TOKEN, Project, System

MOST_CALLS = 2500
CALLS = cases(MOST_CALLS)
STATUS = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
}


@dataclass
class ActiveSharing:
    """Active sharing."""

    id: str
    backup_id: str
    giver: Project
    recipient: Project


@dataclass(frozen=True)
class Happened:
    """Expected event of a sharing or, without a recipient, of a backup."""

    kind: str
    backup_id: str
    giver: Project
    recipient: Project | None = None
    sharing_id: str | None = None

    def seen_by(self, by: Project) -> Seen:
        """Return the event as the project must see it: only the giver sees who acted."""
        return self.kind, self.backup_id, self.sharing_id, self.giver.id, self.to, by == self.giver

    @property
    def to(self) -> str | None:
        return self.recipient.id if self.recipient else None


Seen = tuple[str, str, str | None, str, str | None, bool]
"""Kind, backup, sharing, giver, recipient, and whether it is shown who acted."""


def seen_of(event: dict[str, str]) -> Seen:
    acted = {name for name in ("by_project_id", "by_user_id", "request_id") if name in event}
    sharing_id, to = event.get("sharing_id"), event.get("to_project_id")
    assert not acted or {"by_user_id", "request_id"} <= acted, event
    return event["kind"], event["backup_id"], sharing_id, event["from_project_id"], to, bool(acted)


@dataclass
class Model:
    """Expected sharings and events, and those visible to each project."""

    owners: dict[str, Project] = field(default_factory=dict)
    active: dict[str, ActiveSharing] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    happened: list[Happened] = field(default_factory=list)

    def record(self, kind: str, sharing: ActiveSharing) -> None:
        about = (sharing.backup_id, sharing.giver, sharing.recipient, sharing.id)
        self.happened.append(Happened(kind, *about))

    def events(self, by: Project) -> list[Seen]:
        """Return what a project sees, the newest first."""
        return [each.seen_by(by) for each in reversed(self.happened) if by in (each.giver, each.recipient)]

    def may_read(self, project_id: str, backup_id: str) -> str | None:
        """Return why a project may read a backup; None: it may not."""
        owner = self.owners.get(backup_id)
        if owner is not None and owner.id == project_id:
            return "OWNER"
        shared = (each for each in self.active.values() if each.recipient.id == project_id)
        return "SHARING" if any(each.backup_id == backup_id for each in shared) else None

    def told(self, by: Project, project_id: str, backup_id: str) -> str | None:
        """Return what a project is told: only about itself and about its own backups."""
        own = self.owners.get(backup_id) == by
        return self.may_read(project_id, backup_id) if own or by.id == project_id else None

    def given(self, by: Project) -> set[str]:
        return {sharing.id for sharing in self.active.values() if sharing.giver == by}

    def received(self, by: Project) -> set[str]:
        return {sharing.id for sharing in self.active.values() if sharing.recipient == by}

    def end(self, sharing_id: str) -> None:
        self.record("cancelled", self.active.pop(sharing_id))
        self.ended.append(sharing_id)

    def recipients(self, backup_id: str) -> set[Project]:
        return {sharing.recipient for sharing in self.active.values() if sharing.backup_id == backup_id}


class Rest:
    """Calls over REST; each returns the status and the relevant part of the response."""

    def __init__(self, system: System, session: aiohttp.ClientSession) -> None:
        self._base = f"http://{system.rest.address}"
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

    async def events(self, by: Project, at: Project, query: dict[str, str]) -> tuple[int, list[Seen]]:
        """Return the events of all pages."""
        given = "&".join(f"{name}={value}" for name, value in query.items())
        target, found, status = f"{at.path}-events?{given}", list[Seen](), 0
        while target:
            status, answered, _ = await self._call("GET", by, target)
            found += [seen_of(event) for event in answered.get("events", [])]  # type: ignore[attr-defined]
            links: list[dict[str, str]] = answered.get("shared_links", [])  # type: ignore[assignment]
            target = links[0]["href"].removeprefix(self._base) if links else ""
        return status, found


class Grpc:
    """Calls over gRPC; each returns the same as over REST."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub, self._access = BackupSharingServiceStub(channel), BackupAccessServiceStub(channel)

    async def _call(self, name: str, by: Project | str, request: object) -> tuple[int, object, str]:
        stub, token = self._stub if hasattr(self._stub, name) else self._access, by if isinstance(by, str) else by.token
        try:
            answered = await getattr(stub, name)(request, metadata=[("x-auth-token", token)])
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

    async def events(self, by: Project, at: Project, query: dict[str, str]) -> tuple[int, list[Seen]]:
        """Return the events of all pages."""
        request = backup_access_pb2.ListSharingEventsRequest(project_id=at.id)
        for name, value in query.items():
            setattr(request, name, int(value) if name == "limit" else value)
        found = list[Seen]()
        while True:
            status, answered, _ = await self._call("ListSharingEvents", by, request)
            page = MessageToDict(answered, preserving_proto_field_name=True) if answered else {}  # type: ignore[arg-type]
            found += [seen_of(event) for event in page.get("events", [])]
            request.page_token = page.get("next_page_token", "")
            if not request.page_token:
                return status, found

    async def check(self, by: Project | str, backup_id: str, project_id: str) -> str | None:
        """Return the basis of a project's access; None: no."""
        request = backup_access_pb2.CheckAccessRequest(backup_id=backup_id, project_id=project_id)
        status, answered, _ = await self._call("CheckAccess", by, request)
        assert status == 200
        assert isinstance(answered, backup_access_pb2.CheckAccessResponse)
        answered.cursor = ""
        return basis_of(answered)

    async def check_all(self, by: Project | str, pairs: list[tuple[str, str]]) -> list[str | None]:
        checks = [backup_access_pb2.CheckAccessRequest(backup_id=one, project_id=other) for one, other in pairs]
        request = backup_access_pb2.BatchCheckAccessRequest(checks=checks)
        status, answered, _ = await self._call("BatchCheckAccess", by, request)
        assert status == 200
        return [basis_of(each) for each in getattr(answered, "results", ())]


def basis_of(answer: backup_access_pb2.CheckAccessResponse) -> str | None:
    """Return the basis of an answer without cursor; a "no" must tell nothing else."""
    if not answer.allowed:
        assert answer == backup_access_pb2.CheckAccessResponse()
        return None
    assert answer.owner_project_id
    assert answer.HasField("sharing_id") == (answer.basis == backup_access_pb2.ACCESS_BASIS_SHARING)
    return backup_access_pb2.AccessBasis.Name(answer.basis).removeprefix("ACCESS_BASIS_")


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
                backup_id = system.put_backup(project)
                self._model.owners[backup_id] = project
                self._model.happened.append(Happened("backup_put", backup_id, project))
        self.seen: dict[tuple[str, int], int] = {}

    async def play(self, calls: int) -> None:
        moves: list[Callable[..., object]] = [self._share, self._share, self._get, self._get, self._cancel]
        moves += [self._cancel_all, self._list, self._count, self._events, self._check, self._check_all]
        for _ in range(calls):
            api, by = self._random.choice(self._apis), self._random.choice(self._projects)
            at = by if self._random.random() < 0.9 else self._random.choice(self._projects)
            move = self._random.choice(moves)
            expected, status = await move(api, by, at)  # type: ignore[misc]
            is_of_one_project = move.__name__ not in ("_check", "_check_all")
            assert status == (expected if by == at or not is_of_one_project else 403), (move.__name__, by, at)
            key = (move.__name__, status)
            self.seen[key] = self.seen.get(key, 0) + 1

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
        await game.play(CALLS)
        for _ in range(CALLS, MOST_CALLS, 100):
            if game.seen.keys() >= EVERY:
                break
            await game.play(100)
    assert game.seen.keys() >= EVERY
