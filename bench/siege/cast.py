"""The projects of a siege, their tokens, and where everything is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from backup_sharing.identity.static import add_token
from bench.job import TOKEN, backup_id

ATTACKER = "a77ac0000000400080000000000000aa"
"""The project that attacks, where an attack has a token."""
OTHER = "07e2000000004000800000000000bbbb"
"""The project that makes the steady load."""

MEMBER_TOKEN = "attacking-member"  # noqa: S105 - good on servers that live for one attack
READER_TOKEN = "attacking-reader"  # noqa: S105
OTHER_TOKEN = "other-member"  # noqa: S105
CATALOGUE_TOKEN = "catalogue"  # noqa: S105
SECRET = "MARKED-AS-SECRET"  # noqa: S105
"""Is in every token that must not be found in a log."""

_TOKENS = (
    (MEMBER_TOKEN, ATTACKER, ["member", "reader"]),
    (READER_TOKEN, ATTACKER, ["reader"]),
    (OTHER_TOKEN, OTHER, ["member", "reader"]),
    (CATALOGUE_TOKEN, "", ["service"]),
    (TOKEN, "", ["admin"]),
)

OTHER_BACKUPS = tuple(backup_id(number) for number in range(1000, 1020))
"""Shared in turn by the steady load."""
SHARED_BACKUPS = tuple(backup_id(number) for number in range(5000, 5010))
"""Of the attacker: shared with a thousand projects each, where an attack needs that."""
FLOODED_BACKUPS = tuple(backup_id(number) for number in range(5100, 5120))
"""Of the attacker: for new shares."""
LARGE_BACKUPS = tuple(backup_id(number) for number in range(2000, 2300))
"""Of the attacker: with 65 KB of metadata each, where an attack needs that."""


def write_tokens(path: Path) -> None:
    """Write the token file of a server."""
    for token, project, roles in _TOKENS:
        add_token(path, project, roles, "siege", None, token=token)


@dataclass(frozen=True, slots=True)
class Target:
    """Where an attacker finds what it attacks."""

    grpc: str
    """HOST:PORT or ``unix:PATH`` of the server."""
    rest: str
    """HOST:PORT of the gateway."""


@dataclass(slots=True)
class Budget:
    """What an attack may use up, what it has sent, and what came back."""

    seconds: float
    """From the first byte."""
    bytes: int
    """The most that is sent."""
    scale: float = 1.0
    """Below 1 an attack is made smaller in other respects too: a short siege."""
    sent: int = 0
    tally: Counter[str] = field(default_factory=Counter)
    """How often each kind of end came: ``answered``, a status, ``hung up``."""
    began: float = field(default_factory=monotonic)

    @property
    def is_over(self) -> bool:
        """Whether nothing more may be sent."""
        return self.sent >= self.bytes or self.left <= 0

    @property
    def left(self) -> float:
        """Seconds."""
        return self.began + self.seconds - monotonic()

    def scaled(self, number: int) -> int:
        """A number, smaller in a short siege, at least one."""
        return max(1, round(number * self.scale))
