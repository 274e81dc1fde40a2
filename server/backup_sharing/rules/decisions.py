"""The rules of every change, for all engines: its failures, their order, and its edits.

Each change is decided on a `State` that holds the data named by its `Needs`. A change raises its failure before it
edits the state, so a failed change has no effect on the changes that are decided after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from backup_sharing.errors import (
    AlreadyShared,
    BackupNotAvailable,
    BackupNotFound,
    BackupOwnerFixed,
    Failure,
    InvalidArgument,
    NotTheGiver,
    QuotaUsedUp,
    SharingNotFound,
)
from backup_sharing.model import AVAILABLE, Sharing
from backup_sharing.rules.commands import (
    Cancel,
    CancelAll,
    Cause,
    Command,
    EndDue,
    OnConflict,
    PurgeEvents,
    PurgeSharings,
    PutBackup,
    RemoveBackup,
    Share,
)
from backup_sharing.rules.ends import wrong_end
from backup_sharing.rules.outcome import Failed, Outcome, Succeeded
from backup_sharing.rules.state import Needs, State, cancelled, key_of


def needs_of(commands: Iterable[Command]) -> Needs:
    """Return the data needed to decide the commands."""
    needs = Needs()
    for command in commands:
        match command:
            case Share():
                needs.owners[command.backup_id] = None
                needs.pairs.update(dict.fromkeys((command.backup_id, to) for to in command.to_project_ids))
                needs.due[command.backup_id] = None
            case Cancel():
                needs.sharings[command.sharing_id] = None
            case CancelAll() | RemoveBackup():
                needs.owners[command.backup_id] = None
                needs.all_of[command.backup_id] = None
            case PutBackup():
                needs.backups[command.backup.id] = None
            case EndDue():
                needs.owners[command.backup_id] = None
                needs.sharings.update(dict.fromkeys(command.sharing_ids))
            case PurgeEvents() | PurgeSharings():
                pass
        if isinstance(command, Share | Cancel | CancelAll) and command.idempotency is not None:
            needs.keys[key_of(command.cause, command.idempotency)] = None
    return needs


def decide_all(state: State, commands: Iterable[Command]) -> list[Outcome]:
    """Decide the commands in order; a failed command edits nothing. Nothing is written to the database yet."""
    outcomes: list[Outcome] = []
    for command in commands:
        try:
            outcomes.append(Succeeded(decide(state, command)))
        except Failure as failure:
            outcomes.append(Failed(failure))
    return outcomes


def decide(state: State, command: Command) -> Sequence[Sharing]:
    """Apply a command to the state; return the sharings for its caller. Raises `Failure`."""
    match command:
        case Share():
            return _share(state, command)
        case Cancel():
            return _cancel(state, command)
        case CancelAll():
            return _cancel_all(state, command)
        case PutBackup():
            return _put_backup(state, command)
        case RemoveBackup():
            return _remove_backup(state, command)
        case EndDue():
            return _end_due(state, command)
        case PurgeEvents() | PurgeSharings():
            return _purge(state, command)


def _share(state: State, command: Share) -> Sequence[Sharing]:
    backup_id = command.backup_id
    _check_owner(state, backup_id, command.from_project_id)
    if (earlier := state.earlier_call(command.cause, command.idempotency)) is not None:
        return earlier.answer()
    _check_end(state, command)
    if (status := state.status_of(backup_id)) != AVAILABLE:
        raise BackupNotAvailable(backup_id, status)
    active = state.active_sharings(backup_id)
    already = [project_id for project_id in command.to_project_ids if project_id in active]
    if already and command.on_conflict is OnConflict.REFUSE:
        raise AlreadyShared(backup_id, already)
    new = [
        Sharing(
            "" if command.validate_only else sharing_id,
            backup_id,
            command.from_project_id,
            project_id,
            command.cause.at,
            expires_at=command.expires_at,
        )
        for project_id, sharing_id in zip(command.to_project_ids, command.sharing_ids, strict=True)
        if project_id not in active
    ]
    if new and command.max_active and state.count(backup_id) + len(new) > command.max_active:
        raise QuotaUsedUp(backup_id, command.max_active)
    added = {sharing.to_project_id: sharing for sharing in new}
    answer = [added.get(project_id) or active[project_id] for project_id in command.to_project_ids]
    if command.validate_only:
        return answer
    state.expire(state.due(backup_id))
    state.add(new, command.cause)
    state.remember(command.cause, command.idempotency, answer)
    return answer


def _cancel(state: State, command: Cancel) -> Sequence[Sharing]:
    earlier = state.earlier_call(command.cause, command.idempotency)
    if earlier is not None and earlier.same:
        return earlier.answer()
    sharing = state.sharing(command.sharing_id)
    if sharing is not None and command.project_id == sharing.to_project_id:
        raise NotTheGiver(command.sharing_id)
    if sharing is None or command.project_id != sharing.from_project_id:
        raise SharingNotFound(command.sharing_id)
    if earlier is not None:
        return earlier.answer()
    if command.validate_only:
        return cancelled([sharing], command.cause.at)
    ended = state.end([sharing], command.cause)
    state.remember(command.cause, command.idempotency, ended)
    return ended


def _cancel_all(state: State, command: CancelAll) -> Sequence[Sharing]:
    _check_owner(state, command.backup_id, command.project_id)
    if (earlier := state.earlier_call(command.cause, command.idempotency)) is not None:
        return earlier.answer()
    if command.validate_only:
        return cancelled(_active(state, command.backup_id), command.cause.at)
    ended = _end_all(state, command.backup_id, command.cause)
    state.remember(command.cause, command.idempotency, ended)
    return ended


def _put_backup(state: State, command: PutBackup) -> Sequence[Sharing]:
    backup = command.backup
    owner = state.owner_of(backup.id)
    if owner is not None and owner != backup.project_id:
        raise BackupOwnerFixed(backup.id)
    if state.backup(backup.id) != backup:
        state.put(backup, command.cause)
    return ()


def _remove_backup(state: State, command: RemoveBackup) -> Sequence[Sharing]:
    if state.owner_of(command.backup_id) is None:
        raise BackupNotFound(command.backup_id)
    ended = _end_all(state, command.backup_id, command.cause)
    state.remove(command.backup_id, command.cause)
    return ended


def _end_due(state: State, command: EndDue) -> Sequence[Sharing]:
    wanted = frozenset(command.sharing_ids)
    return state.expire([sharing for sharing in state.due(command.backup_id) if sharing.id in wanted])


def _purge(state: State, command: PurgeEvents | PurgeSharings) -> Sequence[Sharing]:
    match command:
        case PurgeEvents():
            state.edits.purged_through = max(state.edits.purged_through, command.through)
        case PurgeSharings():
            state.edits.purged.update(dict.fromkeys(command.sharing_ids))
    return ()


def _check_end(state: State, command: Share) -> None:
    if command.unless_repeated is not None:
        raise command.unless_repeated
    if command.expires_at is not None and state.now is not None:
        wrong = wrong_end(command.expires_at, state.now)
        if wrong is not None:
            raise InvalidArgument([wrong])


def _check_owner(state: State, backup_id: str, project_id: str) -> None:
    if state.owner_of(backup_id) != project_id:
        raise BackupNotFound(backup_id)


def _end_all(state: State, backup_id: str, cause: Cause) -> list[Sharing]:
    """Record the end of the due sharings, then cancel the active ones; return only the cancelled ones."""
    state.expire(state.due(backup_id))
    return state.end(_active(state, backup_id), cause)


def _active(state: State, backup_id: str) -> list[Sharing]:
    return sorted(state.active_sharings(backup_id).values(), key=lambda sharing: sharing.id)
