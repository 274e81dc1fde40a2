"""The server as a process: settings, log, signals and exit status."""

from __future__ import annotations

import os
import sys

import structlog

from backup_sharing import app, config, logs
from backup_sharing.exit_status import DISK_FAILED
from backup_sharing.identity.configured import CannotIdentify
from backup_sharing.identity.static import BadTokenFile
from backup_sharing.listening import CannotListen
from backup_sharing.store.unusable import UnusableDatabase
from programkit.admin_port import CannotServeAdmin
from programkit.certificates import CannotUseTls
from programkit.logs import Lines
from programkit.process.lifetime import Lifetime
from programkit.process.reloads import LogLevel
from programkit.process.scheduling import run, schedule_as_batch
from programkit.process.supervisor import Supervisor
from programkit.settings import warn_of_misspelt_variables
from programkit.tracing.setup import CannotTrace

_CANNOT_START = (
    BadTokenFile,
    CannotIdentify,
    CannotListen,
    CannotServeAdmin,
    CannotTrace,
    CannotUseTls,
    UnusableDatabase,
)


def run_server() -> None:
    """Run the server until a signal arrives, with the settings of the command line.

    Exits with 2 if the server cannot start, and with `DISK_FAILED` if only a new process can continue.
    """
    settings = config.load(sys.argv[1:])
    lines = logs.configure(settings.log_level)
    warn_of_misspelt_variables(settings, structlog.get_logger("server"))
    schedule_as_batch()
    try:
        run(_serve(settings, lines))
    except (
        BadTokenFile,
        CannotIdentify,
        CannotUseTls,
        UnusableDatabase,
        CannotListen,
        CannotServeAdmin,
        CannotTrace,
    ) as error:
        print(f"backup-sharing-server: {error}", file=sys.stderr)  # noqa: T201 - a message for the operator
        raise SystemExit(2) from None


async def _serve(settings: config.Settings, lines: Lines) -> None:
    lifetime = Lifetime(Supervisor.of_this_process())
    lifetime.watch(stdin=settings.stop_on_stdin_close)
    level = LogLevel(settings, lambda: config.load(sys.argv[1:]), lambda settings: settings.log_level)
    lifetime.reloads.add("log level", level.reload)
    try:
        await app.serve(settings, lifetime)
    except app.StoreFailed:
        # No normal exit: the interpreter would close the database, and SQLite would checkpoint data of unknown state.
        lines.flush()
        sys.stderr.flush()
        os._exit(DISK_FAILED)
