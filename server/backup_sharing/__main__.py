"""``backup-sharing-server``: run the server until a signal arrives."""

from __future__ import annotations

import os
import sys

import uvloop

from backup_sharing import app, config, logs
from backup_sharing.exit_status import DISK_FAILED
from backup_sharing.identity.configured import CannotIdentify
from backup_sharing.identity.static import BadTokenFile
from backup_sharing.listening import CannotListen
from backup_sharing.store.unusable import UnusableDatabase
from programkit.certificates import CannotUseTls
from programkit.lifetime import Lifetime
from programkit.logs import Lines
from programkit.scheduling import schedule_as_batch
from programkit.tracing.setup import CannotTrace


def main() -> None:
    """Run the server with the settings of the command line.

    Exits with 2 if the server cannot start, and with `DISK_FAILED` if only a new process can continue.
    """
    settings = config.load(sys.argv[1:])
    lines = logs.configure(settings.log_level)
    schedule_as_batch()
    try:
        uvloop.run(_serve(settings, lines))
    except (BadTokenFile, CannotIdentify, CannotUseTls, UnusableDatabase, CannotListen, CannotTrace) as error:
        print(f"backup-sharing-server: {error}", file=sys.stderr)  # noqa: T201 - a message for the operator
        raise SystemExit(2) from None


async def _serve(settings: config.Settings, lines: Lines) -> None:
    lifetime = Lifetime()
    lifetime.watch(stdin=settings.stop_on_stdin_close)
    try:
        await app.serve(settings, lifetime)
    except app.StoreFailed:
        # No normal exit: the interpreter would close the database, and SQLite would checkpoint data of unknown state.
        lines.flush()
        sys.stderr.flush()
        os._exit(DISK_FAILED)


if __name__ == "__main__":
    main()
