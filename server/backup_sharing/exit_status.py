"""Exit statuses of the server process with a meaning for its supervisor."""

from __future__ import annotations

from typing import Final

DISK_FAILED: Final = 74
"""Exit status if only a new process can recover the database: EX_IOERR of sysexits.h."""
