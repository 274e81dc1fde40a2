"""Compare the database with a journal of `tests.system.chaos`, and report differences.

Run as ``python -m tests.system.chaos.check URL JOURNAL``.

The check is independent of the programs under test: it reads plain SQL and JSON lines.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

_REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")


_NOTHING_DONE = ("UNAVAILABLE", "OVERLOADED", "IDENTITY_UNAVAILABLE")
"""Reasons of a 503 which guarantee that nothing is stored."""


@dataclass(slots=True)
class CallLog:
    """Contents of a journal."""

    shares: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Share requests by call number."""
    acknowledged: dict[int, list[str]] = field(default_factory=dict)
    """Sharing ids by call number."""
    refused: dict[int, int] = field(default_factory=dict)
    """Status by call number, if the response guarantees that nothing is stored: 4xx, 504, or 503 with such a reason."""
    asked_to_end: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    """Ids of sharings whose cancel was acknowledged."""
    lost: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    """Responses that neither a killed process nor a killed database explains."""


def read(journal: Path) -> CallLog:
    """Parse a journal."""
    log = CallLog()
    for line in journal.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        match entry["kind"]:
            case "share":
                log.shares[entry["call"]] = entry
            case "shared" if entry["status"] == 200:
                log.acknowledged[entry["call"]] = entry["ids"]
            case "shared" if 400 <= entry["status"] < 500 or entry["status"] == 504 or entry["reason"] in _NOTHING_DONE:
                log.refused[entry["call"]] = entry["status"]
            case "cancel":
                log.asked_to_end.add(entry["id"])
            case "cancelled" if entry["status"] == 200:
                log.ended.add(entry["id"])
            case "lost":
                log.lost.append(entry["id"])
            case "unexpected":
                log.unexpected.append(f"{entry['status']} {_REQUEST_ID.sub('req-…', str(entry['answer']))}")
    return log


Row = tuple[str, str, str, str, int | None]
"""Id, backup, giver, recipient and end time of a sharing."""


def problems(url: str, log: CallLog) -> Iterator[str]:
    """Yield every difference between database and journal."""
    with psycopg.connect(url) as connection:
        query = "SELECT id, backup_id, from_project_id, to_project_id, deleted_at FROM sharings"
        rows: list[Row] = connection.execute(query).fetchall()
        events = connection.execute("SELECT kind, sharing_id FROM sharing_events").fetchall()
        keys = dict(connection.execute("SELECT key, answer FROM idempotency_keys").fetchall())
    yield from (f"{sharing_id} was acknowledged, but a later call did not find it" for sharing_id in log.lost)
    yield from (f"{count} times {what}" for what, count in Counter(log.unexpected).items())
    yield from _rows_and_events(rows, events)
    yield from _calls(rows, log)
    yield from _cancels(rows, log)
    yield from _keys(keys, log)


def _rows_and_events(rows: list[Row], events: list[tuple[Any, ...]]) -> Iterator[str]:
    counted = Counter((kind, sharing_id) for kind, sharing_id in events if sharing_id is not None)
    expected = Counter(("shared", row[0]) for row in rows)
    expected.update(("cancelled", row[0]) for row in rows if row[4] is not None)
    for what in (counted - expected) + (expected - counted):
        yield f"{what}: {counted[what]} events, {expected[what]} expected"
    active = Counter((row[1], row[3]) for row in rows if row[4] is None)
    yield from (f"{pair} has {count} active sharings" for pair, count in active.items() if count > 1)


def _calls(rows: list[Row], log: CallLog) -> Iterator[str]:
    of_call: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        of_call[int(row[3].split("-")[1])].append(row)
    for call, asked in log.shares.items():
        stored = {row[3]: row for row in of_call.pop(call, [])}
        whole = stored.keys() == set(asked["to"])
        if stored and not (whole and all(row[1:3] == (asked["backup"], asked["giver"]) for row in stored.values())):
            yield f"call {call} is stored partly or wrongly: requested {asked}, stored {stored}"
        if call in log.acknowledged and [stored.get(to, ("",))[0] for to in asked["to"]] != log.acknowledged[call]:
            yield f"call {call} was acknowledged as {log.acknowledged[call]}, stored {stored}"
        if call in log.refused and stored:
            yield f"call {call} was refused with {log.refused[call]}, but is stored: {stored}"
    yield from (f"call {call} was never requested, stored {stored}" for call, stored in of_call.items())


def _cancels(rows: list[Row], log: CallLog) -> Iterator[str]:
    for row in rows:
        if row[0] in log.ended and row[4] is None:
            yield f"the cancel of {row[0]} was acknowledged, but the sharing is active"
        if row[4] is not None and row[0] not in log.asked_to_end:
            yield f"{row[0]} is cancelled without a request"


def _keys(keys: dict[str, str], log: CallLog) -> Iterator[str]:
    for call, asked in log.shares.items():
        if asked["key"] is None or call not in log.acknowledged:
            continue
        answer = json.loads(keys.get(asked["key"], "[]"))
        if [sharing["id"] for sharing in answer] != log.acknowledged[call]:
            yield f"call {call} was acknowledged with a key, whose stored answer is {answer}"


def main(url: str, journal: str) -> int:
    """Print the differences and a summary; return the exit code."""
    log = read(Path(journal))
    found = list(problems(url, log))
    for problem in found[:50]:
        sys.stdout.write(f"FAILED {problem}\n")
    known = len(log.acknowledged) + len(log.refused)
    sys.stdout.write(
        f"{len(log.shares)} shares requested: {len(log.acknowledged)} acknowledged, {len(log.refused)} refused,"
        f" {len(log.shares) - known} without a response; {len(log.ended)} cancels acknowledged;"
        f" {len(found)} problems\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
