"""Times in options: a time in RFC 3339, or a span such as ``7d``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click

from backupsharing.commands.options import Command

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_SPAN = re.compile(r"(?:[0-9]+[wdhms])+")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time, as it was written."""

    text: str
    length: timedelta

    def from_now(self, now: Callable[[], datetime] = _now) -> datetime:
        """Return the time after this span, without a fraction of a second, so that people can repeat it."""
        return self._shifted(now().replace(microsecond=0), self.length)

    def ago(self, now: Callable[[], datetime] = _now) -> datetime:
        """Return the time before this span."""
        return self._shifted(now(), -self.length)

    def _shifted(self, at: datetime, by: timedelta) -> datetime:
        try:
            return at + by
        except OverflowError:
            raise click.UsageError(f"{self.text} leads out of the years 1 to 9999") from None


def time_option(name: str, text: str) -> Callable[[Command], Command]:
    """Add an option with a time or a span; the command gets a `datetime`, a `Span` or None."""
    return click.option(name, callback=_converted, metavar="7d|12h|2026-12-31T00:00Z", help=text)


def _converted(context: click.Context, option: click.Parameter, text: str | None) -> datetime | Span | None:
    del context, option
    if text is None:
        return None
    if _SPAN.fullmatch(text):
        return span(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a span such as 7d, 12h or 1d12h, nor a time such as 2026-12-31T00:00Z"
        ) from None
    if at.utcoffset() is None:
        raise click.BadParameter(f"{text!r} has no time zone; expected one, as in 2026-12-31T00:00Z or 00:00+02:00")
    return at


def span(text: str) -> Span:
    """Return a span such as ``7d`` or ``1d12h``; raises `click.BadParameter` for another text."""
    if not _SPAN.fullmatch(text):
        raise click.BadParameter(f"{text[:40]!r} is no span such as 7d, 12h or 1d12h")
    parts = re.findall(r"([0-9]+)([wdhms])", text)
    try:
        length = sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())
    except (OverflowError, ValueError):
        # ValueError: more digits than Python converts.
        raise click.BadParameter(f"the span {text[:40]} is too long") from None
    if not length:
        raise click.BadParameter(f"the span {text} is empty")
    return Span(text, length)
