"""The gateway as a process: settings, log, signals and exit status."""

from __future__ import annotations

import sys

import structlog

from programkit import logs
from programkit.admin_port import CannotServeAdmin
from programkit.certificates import CannotUseTls
from programkit.process.lifetime import Lifetime
from programkit.process.reloads import LogLevel
from programkit.process.scheduling import run, schedule_as_batch
from programkit.process.supervisor import Supervisor
from programkit.settings import warn_of_misspelt_variables
from programkit.tracing.setup import CannotTrace
from restmap_gateway import app, config
from restmap_gateway.program import Program
from restmap_gateway.schema.schema import SchemaError

MOST_LOG_BYTES = 4096
"""Bytes of a log line; longer lines are cut."""


def run_gateway(program: Program) -> None:
    """Run the gateway until a signal arrives, with the settings of the command line; exit with 2 if it cannot start."""
    settings = config.load(sys.argv[1:], program)
    logs.configure(settings.log_level, most_bytes=MOST_LOG_BYTES)
    warn_of_misspelt_variables(settings, structlog.get_logger("gateway"))
    schedule_as_batch()
    try:
        run(_serve(settings, program))
    except (SchemaError, CannotUseTls, CannotServeAdmin, app.CannotListen, CannotTrace) as error:
        print(f"{program.name}: {error}", file=sys.stderr)  # noqa: T201 - a message for the operator
        raise SystemExit(2) from None


async def _serve(settings: config.Settings, program: Program) -> None:
    lifetime = Lifetime(Supervisor.of_this_process())
    lifetime.watch(stdin=settings.stop_on_stdin_close)
    level = LogLevel(settings, lambda: config.load(sys.argv[1:], program), lambda settings: settings.log_level)
    lifetime.reloads.add("log level", level.reload)
    await app.serve(settings, lifetime)
