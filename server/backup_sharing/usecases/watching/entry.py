"""An event that many watches send, encoded once for each of the two views of it."""

from __future__ import annotations

from typing import Protocol

from backup_sharing.model import Event
from backup_sharing.store.interface import EventFilter, StoredEvent


class Encoding(Protocol):
    """Encodes the messages of a watch."""

    def event(self, store_id: str, stored: StoredEvent, viewer: str | None) -> bytes:
        """Return the message with an event, as the project ``viewer`` sees it; None: as a caller who sees all."""
        ...

    def checkpoint(self, store_id: str, position: int) -> bytes:
        """Return the message that tells how far a watch has come."""
        ...


class Entry:
    """An event with its encoded messages."""

    __slots__ = ("_full", "_masked", "position", "stored")

    def __init__(self, stored: StoredEvent) -> None:
        self.stored = stored
        self.position = stored.position
        self._full: bytes | None = None
        self._masked: bytes | None = None

    def encoded(self, store_id: str, viewer: str | None, encoding: Encoding) -> bytes:
        """Return the message for a viewer who may see the event: the giver's view, or the recipient's."""
        if viewer is None or viewer == self.stored.event.from_project_id:
            if self._full is None:
                self._full = encoding.event(store_id, self.stored, None)
            return self._full
        if self._masked is None:
            self._masked = encoding.event(store_id, self.stored, viewer)
        return self._masked


def matches(filter: EventFilter, event: Event) -> bool:
    """Return whether a filter by project, backup and kind, the filters of a watch, selects an event."""
    return (
        (filter.project_id is None or filter.project_id in (event.from_project_id, event.to_project_id))
        and (filter.backup_id is None or filter.backup_id == event.backup_id)
        and (filter.kind is None or filter.kind == event.kind)
    )
