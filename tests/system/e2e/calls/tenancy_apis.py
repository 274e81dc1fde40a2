"""The same calls over REST and over gRPC; each returns the status and the relevant part of the response."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import grpc
from google.protobuf.json_format import MessageToDict

from backupsharing.v2 import backup_access_pb2
from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2.backup_access_pb2_grpc import BackupAccessServiceStub
from backupsharing.v2.backup_sharing_pb2_grpc import BackupSharingServiceStub
from tests.support.system import Project, System
from tests.system.e2e.calls.tenancy_model import Seen, seen_of

STATUS = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
}


def token_of(by: Project | str) -> str:
    """Return the token of a project's member, or the token itself."""
    return by if isinstance(by, str) else by.token


class Refused(Exception):
    """A watch did not begin."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


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

    async def watch(self, by: Project | str, at: Project, cursor: str | None) -> AsyncGenerator[dict[str, Any]]:
        """Yield the messages of a watch after a cursor; None: from the beginning."""
        query = "from_beginning=true" if cursor is None else f"cursor={cursor}"
        headers = {"X-Auth-Token": token_of(by), "Accept": "application/x-ndjson"}
        async with self._session.get(f"{self._base}{at.path}-events/watch?{query}", headers=headers) as response:
            if response.status != 200:
                raise Refused(response.status)
            async for line in response.content:
                yield json.loads(line)


class Grpc:
    """Calls over gRPC; each returns the same as over REST."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub, self._access = BackupSharingServiceStub(channel), BackupAccessServiceStub(channel)

    async def _call(self, name: str, by: Project | str, request: object) -> tuple[int, object, str]:
        stub, token = self._stub if hasattr(self._stub, name) else self._access, token_of(by)
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

    async def watch(self, by: Project | str, at: Project, cursor: str | None) -> AsyncGenerator[dict[str, Any]]:
        """Yield the messages of a watch after a cursor; None: from the beginning."""
        request = backup_access_pb2.WatchSharingsRequest(project_id=at.id, cursor=cursor, from_beginning=cursor is None)
        call = self._access.WatchSharings(request, metadata=[("x-auth-token", token_of(by))])
        try:
            async for message in call:
                yield MessageToDict(message, preserving_proto_field_name=True)
        except grpc.aio.AioRpcError as error:
            raise Refused(STATUS[error.code()]) from None
        finally:
            call.cancel()

    async def newest(self, at: Project) -> str:
        """Return the cursor of the newest event of all projects."""
        request = backup_access_pb2.ListSharingEventsRequest(project_id=at.id, limit=1)
        status, answered, _ = await self._call("ListSharingEvents", at, request)
        assert status == 200
        assert isinstance(answered, backup_access_pb2.ListSharingEventsResponse)
        return answered.cursor

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
