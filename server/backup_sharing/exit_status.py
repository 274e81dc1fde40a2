"""How the server's process ends, where that tells something to whoever started it."""

from __future__ import annotations

from typing import Final

DISK_FAILED: Final = 74
"""What a process ends with when only a fresh one can find out what the database holds: EX_IOERR of sysexits.h."""
