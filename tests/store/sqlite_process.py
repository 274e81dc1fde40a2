"""A process that shares one backup with many projects: ``python sqlite_process.py FILE PREFIX COUNT``.

The output has one line per acknowledged share, with the ids of its sharings.
The process checkpoints the log continuously.
"""

from __future__ import annotations

import asyncio
import sys

from backup_sharing.rules.commands import Cause, Idempotency, OnConflict, Share
from backup_sharing.store.sqlite.checkpointer import LogBounds
from tests.store.opened import open_sqlite

RECIPIENTS = 3
CALLERS = 8


async def _run(path: str, prefix: str, count: int) -> None:
    store = await open_sqlite(path, busy_timeout=60.0, log_bounds=LogBounds(copy_from=1, finish_from=64 * 1024))
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            to = [f"{prefix}-{number}-{which}" for which in range(RECIPIENTS)]
            key = Idempotency(f"{prefix}-{number}", "Share", b"same", expires_at=2**62)
            because = Cause("giver", "someone", "req", at=number)
            shared = await store.share(Share("backup", "giver", to, to, OnConflict.REFUSE, 0, because, key))
            sys.stdout.write(" ".join(sharing.id for sharing in shared) + "\n")
            sys.stdout.flush()

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
