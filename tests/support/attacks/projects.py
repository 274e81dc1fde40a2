"""What one project can ask for with a good token of its own: more than its share of a server.

Each attack goes on until its seconds are over; what the server answers is counted by its code. Nothing is retried and
nobody waits: a server that refuses is asked again at once.
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
"""As many as one call may name."""


@dataclass(frozen=True, slots=True)
class Attacker:
    """A project with a token of its own, and the address of the server's gRPC port."""

    address: str
    project_id: str
    token: str

    async def flood(self, make: Callable[[Any], Awaitable[object]], callers: int, seconds: float) -> Counter[str]:
        """Make calls with so many callers at once; answers how often each status came. ``make`` gets the stub."""
        codes: Counter[str] = Counter()
        end = time.monotonic() + seconds

        async def call(stub: Any) -> None:  # noqa: ANN401 - the stubs of two services
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
        """List in an order that no index has; ``wanted`` are more fields of the request."""
        members = {"project_id": self.project_id, "limit": limit, "sort_key": "name", **wanted}
        request = pb.ListSharingsRequest(**members)  # type: ignore[arg-type]  # by name
        return await self.flood(lambda stub: stub.ListSharings(request, metadata=self._metadata), callers, seconds)

    async def pages(self, callers: int = 300, seconds: float = 5.0) -> Counter[str]:
        """List as much at once as there may be, in the order that costs least."""
        request = pb.ListSharingsRequest(project_id=self.project_id)
        return await self.flood(lambda stub: stub.ListSharings(request, metadata=self._metadata), callers, seconds)

    async def searches(self, callers: int = 300, seconds: float = 5.0) -> Counter[str]:
        """Count what has a name that nothing has: every name is looked at."""
        request = pb.CountSharingsRequest(project_id=self.project_id, name="no such name")
        return await self.flood(lambda stub: stub.CountSharings(request, metadata=self._metadata), callers, seconds)

    async def counts(self, callers: int = 300, seconds: float = 5.0) -> Counter[str]:
        """Count: cheap, and as often as it goes."""
        request = pb.CountSharingsRequest(project_id=self.project_id)
        return await self.flood(lambda stub: stub.CountSharings(request, metadata=self._metadata), callers, seconds)

    async def shares(
        self, backup_id: str, callers: int = 300, seconds: float = 5.0, recipients: int = RECIPIENTS
    ) -> Counter[str]:
        """Share with as many projects as a call may name; all but the first are conflicts that are looked up."""
        shared = pb.BackupRecipients(
            backup_id=backup_id, to_project_ids=[f"{number:032x}" for number in range(recipients)]
        )
        request = pb.ShareBackupRequest(project_id=self.project_id, shared=shared)
        return await self.flood(lambda stub: stub.ShareBackup(request, metadata=self._metadata), callers, seconds)

    async def abandoned(self, callers: int = 300, seconds: float = 5.0) -> Counter[str]:
        """Ask for what takes long, and go away before the answer is there."""
        members = {"project_id": self.project_id, "limit": 1, "sort_key": "name"}
        request = pb.ListSharingsRequest(**members)  # type: ignore[arg-type]  # by name
        return await self.flood(
            lambda stub: stub.ListSharings(request, metadata=self._metadata, timeout=0.01), callers, seconds
        )

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-auth-token", self.token),)


async def fill(attacker: Attacker, service_token: str, backups: int, each: int, metadata_bytes: int = 0) -> list[str]:
    """Give a project so many backups, and share each with so many others; answers the ids of the backups."""
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
