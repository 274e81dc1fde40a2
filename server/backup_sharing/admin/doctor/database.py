"""Checks of the database: reachable, migrated, whole, with room, and with the same clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from backup_sharing.store.examination.examining import examine
from backup_sharing.store.examination.facts import Facts
from backup_sharing.store.opening import schema_status, shown
from backup_sharing.store.unusable import UnreachableDatabase, UnusableDatabase
from programkit.doctor.findings import Finding, failed, ok, warning

_MIB: Final = 1024 * 1024
LITTLE_ROOM: Final = 1024 * _MIB
"""Free bytes of the disk below which there is a warning."""
NO_ROOM: Final = 64 * _MIB
"""Free bytes of the disk below which changes may fail at any time."""
LONG_LOG: Final = 512 * _MIB
"""Bytes of the write-ahead log above which there is a warning; a healthy log restarts at a few MiB."""
CLOCK_OFF: Final = 1.0
"""Seconds by which two clocks may differ without a warning."""


def database(name: str, seconds: float) -> Iterator[Finding]:
    """Check a database; look for damage for at most ``seconds``."""
    try:
        status = schema_status(name)
    except UnusableDatabase as error:
        yield failed(str(error), _advice_for(error))
        return
    if status.unknown:
        yield failed(f"{shown(name)}: from a newer version of this program", "install that version")
    elif status.is_empty:
        yield warning(f"{shown(name)}: has no tables yet", "the server creates them when it starts")
        return
    elif status.pending:
        names = ", ".join(status.pending)
        yield failed(f"{shown(name)}: migrations are missing: {names}", "run backup-sharing migrate apply")
    else:
        yield ok(f"{shown(name)}: reachable, and its schema is up to date")
    try:
        yield from findings_of(examine(name, seconds), seconds)
    except UnusableDatabase as error:
        yield failed(str(error), _advice_for(error))


def findings_of(facts: Facts, seconds: float) -> Iterator[Finding]:
    """Return what the state of a database means; damage was looked for during ``seconds``."""
    if facts.damage:
        yield failed(f"damaged: {facts.damage}", "stop the servers, and restore the last backup")
    else:
        seen = "no damage" if facts.is_whole_seen else f"no damage in the part that {seconds:g} seconds were enough for"
        yield ok(f"{_written(facts.size)}; {seen}")
    if not facts.damage:
        yield _counters(facts.wrong_counters, seconds)
    if facts.free is not None:
        yield _room(facts.free)
    if facts.log is not None:
        yield _log(facts.log)
    if facts.clock_ahead is not None:
        yield _clock(facts.clock_ahead)


def _counters(wrong: int | None, seconds: float) -> Finding:
    if wrong is None:
        return ok(f"{seconds:g} seconds were not enough to compare the counters of active sharings")
    if not wrong:
        return ok("the counters of active sharings agree with the sharings")
    return failed(
        f"backups whose counter of active sharings disagrees with their sharings: {wrong}",
        "stop the servers, and copy the database with backup-sharing copy, which counts anew; report the defect",
    )


def _room(free: int) -> Finding:
    text, advice = f"{_written(free)} free on the disk", "free some space, or move the database to a larger disk"
    if free < NO_ROOM:
        return failed(text, advice)
    return warning(text, advice) if free < LITTLE_ROOM else ok(text)


def _log(size: int) -> Finding:
    text = f"{_written(size)} of the write-ahead log are not copied yet"
    if size < LONG_LOG:
        return ok(text)
    return warning(text, "find the process that reads for long, such as a backup tool; the server copies the log")


def _clock(ahead: float) -> Finding:
    if abs(ahead) < CLOCK_OFF:
        return ok("the database's clock agrees with this machine's")
    text = f"the database's clock is {abs(ahead):.1f} seconds {'ahead of' if ahead > 0 else 'behind'} this machine's"
    return warning(text, "synchronize both clocks (NTP): sharings end by the database's clock, tokens by this one")


def _written(size: int) -> str:
    return f"{size / _MIB:.1f} MiB" if size < 1024 * _MIB else f"{size / _MIB / 1024:.1f} GiB"


def _advice_for(error: UnusableDatabase) -> str:
    if isinstance(error, UnreachableDatabase):
        return "check the host, the network and the database's own log"
    return "check --database, and that this user may read and write it"
