"""Entry point of the gateway, both the generic one and one packaged with a service: serve until stopped."""

from __future__ import annotations

import sys

import uvloop

from programkit import logs
from programkit.certificates import CannotUseTls
from programkit.lifetime import Lifetime
from programkit.scheduling import schedule_as_batch
from programkit.tracing.setup import CannotTrace
from restmap_gateway import app, config
from restmap_gateway.program import RESTMAP_GATEWAY, Program
from restmap_gateway.schema.schema import SchemaError

MOST_LOG_BYTES = 4096
"""Bytes of a log line; longer lines are cut."""


def main(program: Program = RESTMAP_GATEWAY) -> None:
    """Run the gateway with the settings of the command line; exit with 2 if it cannot start."""
    settings = config.load(sys.argv[1:], program)
    logs.configure(settings.log_level, most_bytes=MOST_LOG_BYTES)
    schedule_as_batch()
    try:
        uvloop.run(_serve(settings))
    except (SchemaError, CannotUseTls, app.CannotListen, CannotTrace) as error:
        print(f"{program.name}: {error}", file=sys.stderr)  # noqa: T201 - a message for the operator
        raise SystemExit(2) from None


async def _serve(settings: config.Settings) -> None:
    lifetime = Lifetime()
    lifetime.watch(stdin=settings.stop_on_stdin_close)
    await app.serve(settings, lifetime)


if __name__ == "__main__":
    main()
