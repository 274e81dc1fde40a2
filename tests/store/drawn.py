"""Hypothesis strategies for conflicting changes, and the rows that are stored before them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from backup_sharing.rules.commands import Cause, Command, OnConflict, PutBackup, RemoveBackup
from tests.store import commands

BACKUPS = [
    commands.backup(commands.backup_id(1)),
    commands.backup(commands.backup_id(2), name="nächster"),
    commands.backup(commands.backup_id(3), status="error"),
    commands.backup(commands.backup_id(4), project_id=commands.OTHER),
]
LATER = commands.NOW + commands.SECOND
"""Time at which the changes are made: after the initial rows are stored."""

ENDS = {"1": LATER, "2": LATER + 1}
"""Ends of the initial sharings by the backup's last digit: those of the first backup are due."""

EXISTING = [
    commands.share(
        *map(commands.project_id, range(1, 4)),
        backup_id=backup.id,
        giver=backup.project_id,
        sharing_ids=[f"existing-{backup.id[-1]}-{number}" for number in range(1, 4)],
        expires_at=ENDS.get(backup.id[-1]),
    )
    for backup in BACKUPS
    if backup.status == "available"
]

_backup_ids = st.sampled_from([*(backup.id for backup in BACKUPS), BACKUPS[0].id, commands.backup_id(5)])
_projects = st.sampled_from([commands.GIVER, commands.GIVER, commands.OTHER])
_recipients = st.lists(st.integers(1, 6), min_size=1, max_size=4, unique=True)
_sharing_ids = st.sampled_from([f"existing-{backup}-{number}" for backup in (1, 2, 4) for number in (1, 2)])
_keys = st.sampled_from([None, None, "one", "two"])

_ends = st.tuples(st.sampled_from([None, None, LATER, LATER + 1, LATER + 9]), st.sampled_from([False, False, True]))

_shares = st.tuples(_backup_ids, _recipients, _projects, st.sampled_from(OnConflict), st.integers(0, 7), _keys, _ends)
_cancels = st.tuples(_sharing_ids, _projects, _keys)
_cancel_alls = st.tuples(_backup_ids, _projects, _keys)
_puts = st.tuples(st.sampled_from([*BACKUPS, commands.backup(commands.backup_id(5))]), st.sampled_from("ab"), _projects)


def _command(number: int, drawn: tuple[object, ...] | str) -> Command:
    """Return the change drawn as the ``number``-th of its list."""
    because = commands.cause(commands.NOW + number)
    match drawn:
        case (
            str() as backup_id,
            list() as to,
            str() as giver,
            OnConflict() as on_conflict,
            int() as most,
            key,
            (end, only),
        ):
            return commands.share(
                *map(commands.project_id, to),
                backup_id=backup_id,
                giver=giver,
                sharing_ids=[f"drawn-{number:02}-{recipient}" for recipient in to],
                on_conflict=on_conflict,
                max_active=most,
                because=_because(because, giver),
                idempotency=commands.key(key, repr((backup_id, to)).encode(), "Share") if key else None,
                expires_at=end,
                validate_only=only,
            )
        case (str() as id, str() as project, key) if id.startswith("existing"):
            idempotency = commands.key(key, id.encode(), "Cancel") if key else None
            return commands.cancel(id, project, _because(because, project), idempotency)
        case (str() as backup_id, str() as project, key):
            idempotency = commands.key(key, backup_id.encode(), "Cancel") if key else None
            return commands.cancel_all(backup_id, project, _because(because, project), idempotency)
        case (backup, str() as name, str() as project):
            return PutBackup(backup._replace(name=name, project_id=project), because)
    return RemoveBackup(str(drawn), because)


def _because(cause: Cause, project_id: str) -> Cause:
    return replace(cause, project_id=project_id)


changes = st.lists(
    st.one_of(_shares, _shares, _cancels, _cancel_alls, _puts, _backup_ids), min_size=1, max_size=14
).map(lambda drawn: [_command(number, each) for number, each in enumerate(drawn)])
"""Lists of 1 to 14 changes of all kinds."""
