"""Findings about an installation, and the bounded run of the checks that make them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """Severity of a finding; the worst one is the exit code."""

    OK = 0
    WARNING = 1
    FAILED = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a check."""

    state: State
    text: str
    """Subject and result in one text; never a secret."""
    advice: str = ""
    """Advice; empty if nothing is to be done."""


Check = Callable[[], Iterable[Finding]]
"""Looks at one part of an installation; may take long, and runs in a thread of its own."""


def ok(text: str) -> Finding:
    """Return a finding about which nothing is to be done."""
    return Finding(State.OK, text)


def warning(text: str, advice: str) -> Finding:
    """Return a finding that is no problem yet."""
    return Finding(State.WARNING, text, advice)


def failed(text: str, advice: str) -> Finding:
    """Return a finding that keeps the program from its work."""
    return Finding(State.FAILED, text, advice)


def examine(checks: Mapping[str, Check], seconds: float) -> tuple[list[tuple[str, Finding]], bool]:
    """Run all checks at once, for at most ``seconds``.

    Returns:
        The findings, each with the name of its check, in the order of the checks; and whether a check still hangs, so
        that the process has to end without waiting for its threads.
    """
    found: dict[str, list[Finding]] = {}
    threads = {
        name: threading.Thread(target=_run, args=(name, check, found), daemon=True) for name, check in checks.items()
    }
    until = time.monotonic() + seconds
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, until - time.monotonic()))
    hangs = [failed(f"no answer within {seconds:g} seconds", "look at the host or the disk behind it")]
    rows = [(name, finding) for name in checks for finding in found.get(name, hangs)]
    return rows, any(name not in found for name in checks)


def worst(rows: Sequence[tuple[str, Finding]]) -> State:
    """Return the worst state of all findings."""
    return max((finding.state for _, finding in rows), default=State.OK)


def _run(name: str, check: Check, found: dict[str, list[Finding]]) -> None:
    try:
        found[name] = list(check())
    except Exception as error:  # noqa: BLE001 - a defect of one check must not hide the findings of others
        found[name] = [failed(f"the check itself failed: {type(error).__name__}: {error}", "report this as a defect")]
