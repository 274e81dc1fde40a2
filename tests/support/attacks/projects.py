"""Attacks by one project with a valid token, which ask for more than a fair share of a server.

Each attack runs for ``seconds`` and counts the replies by status code. Attackers do not back off: after a refusal they
call again at once.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc

from backupsharing.v2 import backup_catalog_pb2, backup_catalog_pb2_grpc, backup_pb2, backup_sharing_pb2_grpc
from backupsharing.v2 import backup_sharing_pb2 as pb

RECIPIENTS = 1000
"""Maximum number of recipients per call."""


@dataclass(frozen=True, slots=True)
class Attacker:
    """Project with its token, and the address of the server's gRPC port."""

    address: str
    project_id: str
    token: str

    async def flood(self, make: Callable[[Any], Awaitable[object]], callers: int, seconds: float) -> Counter[str]:
        """Make calls from concurrent callers; return the number of calls by status. ``make`` receives the stub."""
        codes: Counter[str] = Counter()
        end = time.monotonic() + seconds

        async def call(stub: Any) -> None:  # noqa: ANN401 - a stub of either service
            while time.monotonic() < end:
                try:
                    await make(stub)
                    codes["OK"] += 1
                except grpc.aio.AioRpcError as failure:
                    codes[failure.code().name] += 1

        async with grpc.aio.insecure_channel(self.address) as channel:
            stub = backup_sharing_pb2_grpc.BackupSharingServiceStub(channel)
            await asyncio.gather(*(call(stub) for _ in range(callers)))
        return codes

    async def lists(
        self, callers: int = 300, seconds: float = 5.0, *, limit: int = 1, **wanted: object
    ) -> Counter[str]:
        """List in an order without an index; ``wanted`` are additional fields of the request."""
        members = {"project_id": self.project_id, "limit": limit, "sort_key": "name", **wanted}
        request = pb.ListSharingsRequest(**members)  # type: ignore[arg-type]  # by name
        return await self.flood(lambda stub: stub.ListSharings(request, metadata=self._metadata), callers, seconds)

    async def pages(self, callers: int = 300, seconds: float = 5.0) -> Counter[str]:
        """List pages of the maximum size, in the cheapest order."""
        request = pb.ListSharingsRequest(project_id=self.project_id)
        return await self.flood(lambda stub: stub.ListSharings(request, metadata=self._metadata), callers, seconds)

    async def searches(self, callers: int = 300, seconds: float = 5.0) -> Counter[str]:
        """Count sharings by a name that does not exist, so that the server compares every name."""
        request = pb.CountSharingsRequest(project_id=self.project_id, name="no such name")
        return await self.flood(lambda stub: stub.CountSharings(request, metadata=self._metadata), callers, seconds)

    async def counts(self, callers: int = 300, seconds: float = 5.0) -> Counter[str]:
        """Count sharings, a cheap call, as often as possible."""
        request = pb.CountSharingsRequest(project_id=self.project_id)
        return await self.flood(lambda stub: stub.CountSharings(request, metadata=self._metadata), callers, seconds)

    async def shares(
        self, backup_id: str, callers: int = 300, seconds: float = 5.0, recipients: int = RECIPIENTS
    ) -> Counter[str]:
        """Share with the maximum number of projects; after the first call, all recipients are conflicts to look up."""
        shared = pb.BackupRecipients(
            backup_id=backup_id, to_project_ids=[f"{number:032x}" for number in range(recipients)]
        )
        request = pb.ShareBackupRequest(project_id=self.project_id, shared=shared)
        return await self.flood(lambda stub: stub.ShareBackup(request, metadata=self._metadata), callers, seconds)

    async def abandoned(self, callers: int = 300, seconds: float = 5.0) -> Counter[str]:
        """Make expensive calls and cancel them before the reply."""
        members = {"project_id": self.project_id, "limit": 1, "sort_key": "name"}
        request = pb.ListSharingsRequest(**members)  # type: ignore[arg-type]  # by name
        return await self.flood(
            lambda stub: stub.ListSharings(request, metadata=self._metadata, timeout=0.01), callers, seconds
        )

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-auth-token", self.token),)


async def fill(attacker: Attacker, service_token: str, backups: int, each: int, metadata_bytes: int = 0) -> list[str]:
    """Create backups and share each of them with ``each`` projects; return the backup ids."""
    found = [str(uuid.uuid4()) for _ in range(backups)]
    async with grpc.aio.insecure_channel(attacker.address) as channel:
        catalog = backup_catalog_pb2_grpc.BackupCatalogServiceStub(channel)
        sharing = backup_sharing_pb2_grpc.BackupSharingServiceStub(channel)
        for number, backup_id in enumerate(found):
            backup = backup_pb2.Backup(
                id=backup_id,
                project_id=attacker.project_id,
                status="available",
                name=f"backup {number:06}",
                size=number,
                service_metadata="m" * metadata_bytes,
            )
            put = backup_catalog_pb2.PutBackupRequest(backup=backup)
            await catalog.PutBackup(put, metadata=(("x-auth-token", service_token),))
            shared = pb.BackupRecipients(backup_id=backup_id, to_project_ids=[f"{other:032x}" for other in range(each)])
            request = pb.ShareBackupRequest(project_id=attacker.project_id, shared=shared)
            await sharing.ShareBackup(request, metadata=attacker._metadata)
    return found
