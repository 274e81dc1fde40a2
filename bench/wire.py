"""What the two clients of the generator have in common."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Is told how calls ended."""

    def answered(self, slot: int, answer: bytes) -> None:
        """The call in this slot succeeded."""

    def failed(self, why: str) -> None:
        """A call, or its connection, failed; the measurement is worth nothing."""


class Wire(Protocol):
    """Sends calls, one at a time in each slot. Connections stay open from one measurement to the next."""

    listener: Listener

    async def open(self, slots: int) -> None:
        """Be ready for calls in slots 0 to ``slots`` - 1."""

    def send(self, slot: int, request: bytes) -> None:
        """Begin a call."""

    def flush(self) -> None:
        """Write what was sent, where it is held back for what may come behind."""
