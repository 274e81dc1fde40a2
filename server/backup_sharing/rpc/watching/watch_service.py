"""``BackupAccessService.WatchSharings``: message → use case → messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backup_sharing.errors import RoleMissing
from backup_sharing.model import Principal
from backup_sharing.rpc import events
from backup_sharing.rpc.watching.streams import Source, StreamMethod
from backup_sharing.store.interface import StoredEvent
from backup_sharing.usecases import cursor, policy
from backup_sharing.usecases.watching.watches import Watches, WatchRequest
from backupsharing.v2 import backup_access_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["BackupAccessService"].full_name

WATCH = f"/{SERVICE}/WatchSharings"
"""The method that streams."""


class WatchEncoding:
    """See `backup_sharing.usecases.watching.entry.Encoding`."""

    def event(self, store_id: str, stored: StoredEvent, viewer: str | None) -> bytes:
        """Return the message with an event."""
        event = events.message(store_id, stored, viewer)
        return pb.WatchSharingsResponse(cursor=event.cursor, event=event).SerializeToString()

    def checkpoint(self, store_id: str, position: int) -> bytes:
        """Return the message without an event."""
        return pb.WatchSharingsResponse(cursor=cursor.encode(store_id, position)).SerializeToString()


@dataclass(frozen=True, slots=True)
class WatchService:
    """The watch over gRPC."""

    watches: Watches

    def methods(self) -> Sequence[StreamMethod]:
        """Return the streaming methods of the service."""

        def project_id(request: pb.WatchSharingsRequest) -> str:
            return request.project_id

        return (StreamMethod(WATCH, pb.WatchSharingsRequest, project_id, self.watch, _still_sees_all),)

    async def watch(self, principal: Principal, request: pb.WatchSharingsRequest) -> Source:
        """Open a watch."""
        return await self.watches.open(
            principal,
            WatchRequest(
                project_id=request.project_id,
                cursor=request.cursor,
                from_beginning=request.from_beginning,
                backup_id=request.backup_id,
                kind=request.kind,
            ),
        )


def _still_sees_all(before: Principal, now: Principal) -> None:
    if policy.sees_all(before) and not policy.sees_all(now):
        raise RoleMissing("The watch needs the role 'admin' or 'service', with which it began.")
