"""Reload of a running program's files: certificates, tokens, log level. What cannot be used leaves the old in force."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from contextlib import redirect_stderr
from typing import Generic, TypeVar

import structlog

from programkit import logs
from programkit.settings import ProgramSettings

Reload = Callable[[], Awaitable[str]]
"""Reloads one part; returns what is in force now, for the log. If it raises, it must have changed nothing."""

S = TypeVar("S", bound=ProgramSettings)


class CannotReload(Exception):
    """A part cannot be reloaded; the message says why."""


class Reloads:
    """The parts of a program that can be reloaded."""

    def __init__(self) -> None:
        self._parts: dict[str, Reload] = {}

    def add(self, name: str, reload: Reload) -> None:
        """Add a part; ``name`` is its name in the log."""
        self._parts[name] = reload

    async def run(self) -> None:
        """Reload all parts, and log one line. A part that fails keeps its state, and the others are reloaded."""
        reloaded, failed = list[str](), list[str]()
        for name, reload in self._parts.items():
            try:
                reloaded.append(f"{name}: {await reload()}")
            except Exception as error:  # noqa: BLE001 - a defect in one part must not keep the others from it
                failed.append(f"{name}: {str(error) or type(error).__name__}; the old state stays in force")
        log = structlog.get_logger("program")
        if failed:
            log.error("reload", reloaded=reloaded, failed=failed)
        else:
            log.info("reload", reloaded=reloaded)


def in_place(reload: Callable[[], str]) -> Reload:
    """Return a reload from a function that takes no time to speak of."""

    async def reload_now() -> str:
        return reload()

    return reload_now


class LogLevel(Generic[S]):
    """The log level of a running program, from the same flags, environment and file as at the start."""

    def __init__(self, settings: S, load: Callable[[], S], level_of: Callable[[S], str]) -> None:
        """Compare with these settings, which are in force.

        Args:
            settings: the settings of the start.
            load: reads all settings; if any is invalid, it prints why to standard error and raises SystemExit.
            level_of: returns the log level of settings.
        """
        self._started_with = settings.model_dump()
        self._load = load
        self._level_of = level_of

    async def reload(self) -> str:
        """Apply the log level; name the other settings that have changed, which only a restart applies.

        Raises CannotReload.
        """
        settings = await asyncio.to_thread(loaded, self._load)
        level, now = self._level_of(settings), settings.model_dump()
        logs.change_level(level)
        changed = [name for name, value in now.items() if value != self._started_with.get(name)]
        others = ", ".join(sorted(set(changed) - {"log_level"}))
        return f"{level}; restart to apply {others}" if others else level


def loaded(load: Callable[[], S]) -> S:
    """Return settings, without printing anything and without ending the process.

    Raises:
        CannotReload: the settings are invalid; the message has what ``load`` printed.
    """
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            return load()
    except SystemExit:
        text = " ".join(printed.getvalue().split())
        usage, error, problem = text.partition(" error: ")
        text = problem if error and usage.startswith("usage: ") else text
        raise CannotReload(text or "the settings cannot be read") from None
