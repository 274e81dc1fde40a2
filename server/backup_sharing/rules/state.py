"""The part of the stored data that some changes are about, and what they do to it, in memory.

An engine reads what `Needs` names into a `State`, has the changes decided on it one after the other
(`backup_sharing.rules.decisions`), and writes the `Edits`: the rules are the same on every engine, and a
batch of changes takes a few statements, not a few for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from backup_sharing.errors import IdempotencyKeyReused, StoredDataUnreadable
from backup_sharing.model import Backup, Micros, Sharing
from backup_sharing.rules.commands import Cause, Idempotency

Key = tuple[str, str, str]
"""Project, method and key of an idempotency key."""


@dataclass(slots=True)
class Needs:
    """What has to be known of the stored data; each a set in the order in which it was asked for."""

    owners: dict[str, None] = field(default_factory=dict)
    """Backups, by id, whose owner and status are needed."""
    backups: dict[str, None] = field(default_factory=dict)
    """Backups, by id, all of which is needed."""
    pairs: dict[tuple[str, str], None] = field(default_factory=dict)
    """Backup and recipient: the active sharing between them."""
    sharings: dict[str, None] = field(default_factory=dict)
    """Active sharings, by id."""
    all_of: dict[str, None] = field(default_factory=dict)
    """Backups, by id, all active sharings of which are needed."""
    counted: dict[str, None] = field(default_factory=dict)
    """Backups, by id, whose active sharings have to be counted."""
    keys: dict[Key, None] = field(default_factory=dict)
    """Idempotency keys."""


class StoredKey(NamedTuple):
    """What is stored with an idempotency key."""

    fingerprint: bytes
    answer: Sequence[Sharing] | None
    """Of the first call that succeeded; None: it cannot be read."""
    expires_at: Micros


class Event(NamedTuple):
    """What happened, because of whom, and to what."""

    kind: str
    at: Micros
    by_project_id: str
    by_user_id: str
    request_id: str
    backup_id: str
    from_project_id: str
    sharing_id: str | None
    to_project_id: str | None


@dataclass(frozen=True, slots=True)
class EarlierCall:
    """A call that succeeded before with the same idempotency key."""

    same: bool
    """Whether it asked for the same."""
    first_answer: Sequence[Sharing] | None
    """None: it cannot be read."""

    def answer(self) -> Sequence[Sharing]:
        """Answer what it was answered; raises `IdempotencyKeyReused` if it asked for something else."""
        if not self.same:
            raise IdempotencyKeyReused
        if self.first_answer is None:
            raise StoredDataUnreadable("A stored answer cannot be read.")
        return self.first_answer


@dataclass(slots=True)
class Edits:
    """What has to be written, each row as it is in the end. To be applied in the order of the members."""

    ended: dict[str, Sharing] = field(default_factory=dict)
    """Stored sharings, by id, that are cancelled now."""
    added: dict[str, Sharing] = field(default_factory=dict)
    """New sharings by id; one may have been cancelled already."""
    backups: dict[str, Backup | None] = field(default_factory=dict)
    """Backups to insert or replace, by id; None: to remove."""
    keys: dict[Key, StoredKey] = field(default_factory=dict)
    """Idempotency keys; what is stored of such a key has expired and goes."""
    expired_at: Micros | None = None
    """When keys were remembered: a few of those that have expired by then may go, too."""
    events: list[Event] = field(default_factory=list)
    """In their order."""

    def __bool__(self) -> bool:
        """Whether there is anything to write: every change writes an event or a key."""
        return bool(self.events or self.keys)


class State:
    """What is known, as the changes that were decided so far leave it."""

    def __init__(self) -> None:
        self.edits = Edits()
        self._owners: dict[str, tuple[str, str]] = {}
        self._backups: dict[str, Backup] = {}
        self._active: dict[str, dict[str, Sharing]] = {}
        """By backup, then by recipient."""
        self._by_id: dict[str, Sharing] = {}
        self._counts: dict[str, int] = {}
        self._keys: dict[Key, StoredKey] = {}
        self._stored: set[str] = set()
        """Backups, by id, that were there before any change."""

    def know_owners(self, rows: Iterable[Sequence[str]]) -> None:
        """Take note of stored backups: id, owner and status of each."""
        for backup_id, owner, status in rows:
            self._owners[backup_id] = owner, status
            self._stored.add(backup_id)

    def know_backups(self, backups: Iterable[Backup]) -> None:
        """Take note of stored backups."""
        for backup in backups:
            self._hold(backup)
            self._stored.add(backup.id)

    def know_active(self, sharings: Iterable[Sharing]) -> None:
        """Take note of stored active sharings."""
        for sharing in sharings:
            self._stand(sharing)

    def know_counts(self, rows: Iterable[tuple[str, int]]) -> None:
        """Take note of how many active sharings backups have."""
        self._counts.update(rows)

    def know_key(self, key: Key, stored: StoredKey) -> None:
        """Take note of a stored idempotency key, which may have expired."""
        self._keys[key] = stored

    def was_stored(self, backup_id: str) -> bool:
        """Whether a backup was there before any change."""
        return backup_id in self._stored

    def owner_of(self, backup_id: str) -> str | None:
        """Whose a backup is; None if there is none."""
        known = self._owners.get(backup_id)
        return None if known is None else known[0]

    def status_of(self, backup_id: str) -> str:
        """The status of a backup that is there."""
        return self._owners[backup_id][1]

    def backup(self, backup_id: str) -> Backup | None:
        """A backup, as it is."""
        return self._backups.get(backup_id)

    def standing(self, backup_id: str) -> dict[str, Sharing]:
        """The active sharings of a backup that are known, by recipient; not to be changed."""
        return self._active.get(backup_id, {})

    def sharing(self, sharing_id: str) -> Sharing | None:
        """An active sharing."""
        return self._by_id.get(sharing_id)

    def count(self, backup_id: str) -> int:
        """How many active sharings a backup has."""
        return self._counts.get(backup_id, 0)

    def earlier_call(self, cause: Cause, idempotency: Idempotency | None) -> EarlierCall | None:
        """The call that used this key before; None if there was none, or its key has expired at ``cause.at``."""
        if idempotency is None:
            return None
        stored = self._keys.get(key_of(cause, idempotency))
        if stored is None or stored.expires_at <= cause.at:
            return None
        return EarlierCall(stored.fingerprint == idempotency.fingerprint, stored.answer)

    def add(self, sharings: Sequence[Sharing], cause: Cause) -> None:
        """Add sharings that are all of one backup."""
        for sharing in sharings:
            self._stand(sharing)
            self.edits.added[sharing.id] = sharing
            self._tell("shared", sharing.backup_id, sharing.from_project_id, cause, sharing)
        if sharings and sharings[0].backup_id in self._counts:
            self._counts[sharings[0].backup_id] += len(sharings)

    def end(self, sharings: Iterable[Sharing], cause: Cause) -> list[Sharing]:
        """Cancel active sharings; answers them as they are afterwards."""
        ended = [replace(sharing, updated_at=cause.at, deleted_at=cause.at) for sharing in sharings]
        for sharing in ended:
            del self._by_id[sharing.id]
            del self._active[sharing.backup_id][sharing.to_project_id]
            if sharing.backup_id in self._counts:
                self._counts[sharing.backup_id] -= 1
            rows = self.edits.added if sharing.id in self.edits.added else self.edits.ended
            rows[sharing.id] = sharing
            self._tell("cancelled", sharing.backup_id, sharing.from_project_id, cause, sharing)
        return ended

    def put(self, backup: Backup, cause: Cause) -> None:
        """Insert or replace a backup."""
        self._hold(backup)
        self.edits.backups[backup.id] = backup
        self._tell("backup_put", backup.id, backup.project_id, cause)

    def remove(self, backup_id: str, cause: Cause) -> None:
        """Remove a backup that is there."""
        owner, _ = self._owners.pop(backup_id)
        self._backups.pop(backup_id, None)
        self.edits.backups[backup_id] = None
        self._tell("backup_removed", backup_id, owner, cause)

    def remember(self, cause: Cause, idempotency: Idempotency | None, answer: Sequence[Sharing]) -> None:
        """Keep the first answer with its key, if there is one."""
        if idempotency is None:
            return
        key = key_of(cause, idempotency)
        stored = StoredKey(idempotency.fingerprint, list(answer), idempotency.expires_at)
        self._keys[key] = self.edits.keys[key] = stored
        self.edits.expired_at = max(cause.at, self.edits.expired_at or cause.at)

    def _hold(self, backup: Backup) -> None:
        self._backups[backup.id] = backup
        self._owners[backup.id] = backup.project_id, backup.status

    def _stand(self, sharing: Sharing) -> None:
        self._active.setdefault(sharing.backup_id, {})[sharing.to_project_id] = sharing
        self._by_id[sharing.id] = sharing

    def _tell(self, kind: str, backup_id: str, owner: str, cause: Cause, about: Sharing | None = None) -> None:
        of = (about.id, about.to_project_id) if about else (None, None)
        by = (cause.project_id, cause.user_id, cause.request_id)
        self.edits.events.append(Event(kind, cause.at, *by, backup_id, owner, *of))


def key_of(cause: Cause, idempotency: Idempotency) -> Key:
    """A key with its scope."""
    return cause.project_id, idempotency.method, idempotency.key
