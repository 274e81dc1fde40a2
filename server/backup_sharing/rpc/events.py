"""Events as messages, as far as a caller may see them."""

from __future__ import annotations

from backup_sharing.model import Event
from backup_sharing.rpc import mapping
from backup_sharing.store.interface import StoredEvent
from backup_sharing.usecases import cursor
from backupsharing.v2 import backup_access_pb2 as pb


def shown_to(project_id: str | None, event: Event) -> Event:
    """Return an event as a project sees it: a recipient does not see who acted. None: a caller who sees all."""
    if project_id is None or project_id == event.from_project_id:
        return event
    return event._replace(by_project_id="", by_user_id="", request_id="")


def message(store_id: str, stored: StoredEvent, project_id: str | None) -> pb.SharingEvent:
    """Return the message of an event, as a project sees it; None: as a caller who sees all."""
    event = shown_to(project_id, stored.event)
    shown = pb.SharingEvent(
        cursor=cursor.encode(store_id, stored.position),
        kind=event.kind,
        time=mapping.timestamp(event.at),
        sharing_id=event.sharing_id,
        backup_id=event.backup_id,
        from_project_id=event.from_project_id,
        to_project_id=event.to_project_id,
    )
    for name in ("by_project_id", "by_user_id", "request_id"):
        if value := getattr(event, name):
            setattr(shown, name, value)
    return shown
