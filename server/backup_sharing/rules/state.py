"""The stored data that a batch of changes concerns, and the edits of these changes, in memory.

An engine reads the data named by `Needs` into a `State`, decides the changes on it in order
(`backup_sharing.rules.decisions`), and writes the `Edits`. So the rules are the same on every engine, and a batch of
changes takes a few statements instead of a few per change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from backup_sharing.errors import IdempotencyKeyReused, StoredDataUnreadable
from backup_sharing.model import Backup, Event, Micros, Sharing
from backup_sharing.rules.commands import NOBODY, Cause, Idempotency

Key = tuple[str, str, str]
"""Project, method and key of an idempotency key."""


@dataclass(slots=True)
class Needs:
    """Stored data needed to decide changes; each member is a set in the order of the requests."""

    owners: dict[str, None] = field(default_factory=dict)
    """Ids of backups whose owner, status and number of active sharings are needed."""
    backups: dict[str, None] = field(default_factory=dict)
    """Ids of backups whose columns are all needed."""
    pairs: dict[tuple[str, str], None] = field(default_factory=dict)
    """Pairs of backup and recipient whose active sharing is needed."""
    sharings: dict[str, None] = field(default_factory=dict)
    """Ids of active sharings."""
    all_of: dict[str, None] = field(default_factory=dict)
    """Ids of backups whose active sharings are all needed."""
    due: dict[str, None] = field(default_factory=dict)
    """Ids of backups whose due sharings are all needed; each backup is also in ``pairs``."""
    keys: dict[Key, None] = field(default_factory=dict)
    """Idempotency keys."""


class StoredKey(NamedTuple):
    """Data stored with an idempotency key."""

    fingerprint: bytes
    answer: Sequence[Sharing] | None
    """Sharings returned by the first successful call; None: unreadable."""
    expires_at: Micros


@dataclass(frozen=True, slots=True)
class EarlierCall:
    """An earlier successful call with the same idempotency key."""

    same: bool
    """Whether the earlier request is equal to this one."""
    first_answer: Sequence[Sharing] | None
    """Sharings that the earlier call returned; None: unreadable."""

    def answer(self) -> Sequence[Sharing]:
        """Return the sharings of the earlier call; raises `IdempotencyKeyReused` if the requests differ."""
        if not self.same:
            raise IdempotencyKeyReused
        if self.first_answer is None:
            raise StoredDataUnreadable("A stored answer cannot be read.")
        return self.first_answer


@dataclass(slots=True)
class Edits:
    """Rows to write, each in its final state. Apply them in the order of the members."""

    ended: dict[str, Sharing] = field(default_factory=dict)
    """Stored sharings that were cancelled or have expired, by id."""
    added: dict[str, Sharing] = field(default_factory=dict)
    """New sharings by id; some may already be cancelled."""
    backups: dict[str, Backup | None] = field(default_factory=dict)
    """Backups to insert or replace, by id; None: remove the backup."""
    counts: dict[str, int] = field(default_factory=dict)
    """Number to add to the counter of each backup, see `State.know_owners`; a removed backup has none."""
    keys: dict[Key, StoredKey] = field(default_factory=dict)
    """Idempotency keys to store; an existing row with such a key has expired and must be replaced."""
    expired_at: Micros | None = None
    """Latest time at which a key was added; a few of the keys that have expired by then may be deleted, too."""
    events: list[Event] = field(default_factory=list)
    """Events in the order of the changes."""
    purged_through: int = 0
    """Position up to which all events must be deleted."""
    purged: dict[str, None] = field(default_factory=dict)
    """Ids of sharings to delete, if their end is stored."""

    def __bool__(self) -> bool:
        """Return whether any row must be written or deleted: every other change writes an event or a key."""
        return bool(self.events or self.keys or self.purged_through or self.purged)


class State:
    """The known stored data, with the edits of all changes decided so far.

    A sharing that ends at ``now`` or before is due: it is not active, whether or not its end is recorded.
    """

    def __init__(self, now: Micros | None = None) -> None:
        """Know nothing yet; ``now`` is the store's time, which must be known before the sharings."""
        self.edits = Edits()
        self.now = now
        """The store's time; None: not known, and no sharing is due."""
        self._owners: dict[str, tuple[str, str]] = {}
        self._counts: dict[str, int] = {}
        """Stored counters of backups; the edits have what has changed since."""
        self._backups: dict[str, Backup] = {}
        self._active: dict[str, dict[str, Sharing]] = {}
        """Active sharings by backup id, then by recipient."""
        self._by_id: dict[str, Sharing] = {}
        self._due: dict[str, dict[str, Sharing]] = {}
        """Due sharings by backup id, then by id."""
        self._keys: dict[Key, StoredKey] = {}
        self._stored: set[str] = set()
        """Ids of backups that were stored before the first change."""

    def know_owners(self, rows: Iterable[tuple[str, str, str, int]]) -> None:
        """Record stored backups: id, owner, status and counter of each.

        The counter is the number of the backup's sharings without a recorded end, due ones included.
        """
        for backup_id, owner, status, count in rows:
            self._owners[backup_id] = owner, status
            self._counts[backup_id] = count
            self._stored.add(backup_id)

    def know_backups(self, backups: Iterable[Backup]) -> None:
        """Record stored backups."""
        for backup in backups:
            self._set_backup(backup)
            self._stored.add(backup.id)

    def know_active(self, sharings: Iterable[Sharing]) -> None:
        """Record stored sharings without a recorded end; some may be due."""
        for sharing in sharings:
            self._set_active(sharing)

    def know_key(self, key: Key, stored: StoredKey) -> None:
        """Record a stored idempotency key, which may have expired."""
        self._keys[key] = stored

    def was_stored(self, backup_id: str) -> bool:
        """Return whether a backup was stored before the first change."""
        return backup_id in self._stored

    def owner_of(self, backup_id: str) -> str | None:
        """Return the owner of a backup; None if there is no such backup."""
        known = self._owners.get(backup_id)
        return None if known is None else known[0]

    def status_of(self, backup_id: str) -> str:
        """Return the status of an existing backup."""
        return self._owners[backup_id][1]

    def backup(self, backup_id: str) -> Backup | None:
        """Return a backup in its current state; None if it is not known."""
        return self._backups.get(backup_id)

    def active_sharings(self, backup_id: str) -> dict[str, Sharing]:
        """Return the known active sharings of a backup, by recipient. The caller must not change the dict."""
        return self._active.get(backup_id, {})

    def sharing(self, sharing_id: str) -> Sharing | None:
        """Return an active sharing; None if it is not known."""
        return self._by_id.get(sharing_id)

    def count(self, backup_id: str) -> int:
        """Return the number of active sharings of a backup, whose owner and due sharings must be known."""
        stored, change = self._counts.get(backup_id, 0), self.edits.counts.get(backup_id, 0)
        return stored + change - len(self._due.get(backup_id, ()))

    def due(self, backup_id: str) -> list[Sharing]:
        """Return the known due sharings of a backup, ordered by their end, then by id."""
        return sorted(self._due.get(backup_id, {}).values(), key=_end_of)

    def earlier_call(self, cause: Cause, idempotency: Idempotency | None) -> EarlierCall | None:
        """Return the earlier call with this key; None if there was none, or if the key has expired at ``cause.at``."""
        if idempotency is None:
            return None
        stored = self._keys.get(key_of(cause, idempotency))
        if stored is None or stored.expires_at <= cause.at:
            return None
        return EarlierCall(stored.fingerprint == idempotency.fingerprint, stored.answer)

    def add(self, sharings: Sequence[Sharing], cause: Cause) -> None:
        """Add sharings, all of the same backup."""
        for sharing in sharings:
            self._set_active(sharing)
            self.edits.added[sharing.id] = sharing
            self._add_event("shared", sharing.backup_id, sharing.from_project_id, cause, sharing)
        if sharings:
            self._add_to_count(sharings[0].backup_id, len(sharings))

    def end(self, sharings: Iterable[Sharing], cause: Cause) -> list[Sharing]:
        """Cancel active sharings; return them in their new state."""
        ended = cancelled(sharings, cause.at)
        for sharing in ended:
            del self._by_id[sharing.id]
            del self._active[sharing.backup_id][sharing.to_project_id]
            self._set_ended(sharing)
            self._add_event("cancelled", sharing.backup_id, sharing.from_project_id, cause, sharing)
        return ended

    def expire(self, sharings: Iterable[Sharing]) -> list[Sharing]:
        """Record the end of due sharings, each at its own time; return them in their new state."""
        ended = []
        for sharing in sharings:
            del self._due[sharing.backup_id][sharing.id]
            end = sharing.expires_at or 0  # a due sharing has an end
            ended.append(sharing._replace(updated_at=end, deleted_at=end))
            self._set_ended(ended[-1])
            self._add_event("expired", sharing.backup_id, sharing.from_project_id, replace(NOBODY, at=end), sharing)
        return ended

    def put(self, backup: Backup, cause: Cause) -> None:
        """Insert or replace a backup."""
        self._set_backup(backup)
        self.edits.backups[backup.id] = backup
        self._add_event("backup_put", backup.id, backup.project_id, cause)

    def remove(self, backup_id: str, cause: Cause) -> None:
        """Remove an existing backup."""
        owner, _ = self._owners.pop(backup_id)
        self._backups.pop(backup_id, None)
        self.edits.backups[backup_id] = None
        self._add_event("backup_removed", backup_id, owner, cause)

    def remember(self, cause: Cause, idempotency: Idempotency | None, answer: Sequence[Sharing]) -> None:
        """Store the first result with its key; do nothing without a key."""
        if idempotency is None:
            return
        key = key_of(cause, idempotency)
        stored = StoredKey(idempotency.fingerprint, list(answer), idempotency.expires_at)
        self._keys[key] = self.edits.keys[key] = stored
        self.edits.expired_at = max(cause.at, self.edits.expired_at or cause.at)

    def _set_backup(self, backup: Backup) -> None:
        self._backups[backup.id] = backup
        self._owners[backup.id] = backup.project_id, backup.status

    def _set_active(self, sharing: Sharing) -> None:
        if self.now is not None and sharing.expires_at is not None and sharing.expires_at <= self.now:
            self._due.setdefault(sharing.backup_id, {})[sharing.id] = sharing
            return
        self._active.setdefault(sharing.backup_id, {})[sharing.to_project_id] = sharing
        self._by_id[sharing.id] = sharing

    def _set_ended(self, sharing: Sharing) -> None:
        self._add_to_count(sharing.backup_id, -1)
        rows = self.edits.added if sharing.id in self.edits.added else self.edits.ended
        rows[sharing.id] = sharing

    def _add_to_count(self, backup_id: str, number: int) -> None:
        self.edits.counts[backup_id] = self.edits.counts.get(backup_id, 0) + number

    def _add_event(self, kind: str, backup_id: str, owner: str, cause: Cause, about: Sharing | None = None) -> None:
        of = (about.id, about.to_project_id) if about else (None, None)
        by = (cause.project_id, cause.user_id, cause.request_id)
        self.edits.events.append(Event(kind, cause.at, *by, backup_id, owner, *of))


def cancelled(sharings: Iterable[Sharing], at: Micros) -> list[Sharing]:
    """Return active sharings as they are after a cancellation."""
    return [sharing._replace(updated_at=at, deleted_at=at) for sharing in sharings]


def _end_of(sharing: Sharing) -> tuple[Micros, str]:
    return sharing.expires_at or 0, sharing.id


def key_of(cause: Cause, idempotency: Idempotency) -> Key:
    """Return a key with its scope."""
    return cause.project_id, idempotency.method, idempotency.key
