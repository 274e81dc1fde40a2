"""The gateway as a program, that for any service or one of a service's own: serve until told to stop."""

from __future__ import annotations

import os
import sys

import uvloop

from restmap_gateway import app, config, logs
from restmap_gateway.lifetime import Lifetime
from restmap_gateway.program import RESTMAP_GATEWAY, Program
from restmap_gateway.schema.schema import SchemaError
from restmap_gateway.upstream.tls import CannotUseTls


def main(program: Program = RESTMAP_GATEWAY) -> None:
    """Run the gateway with the settings of the command line; exit with 2 if it cannot start with them."""
    settings = config.load(sys.argv[1:], program)
    logs.configure(settings.log_level)
    _yield_to_others_less()
    try:
        uvloop.run(_serve(settings))
    except (SchemaError, CannotUseTls, app.CannotListen) as error:
        print(f"{program.name}: {error}", file=sys.stderr)  # noqa: T201 - for the person who started it
        raise SystemExit(2) from None


async def _serve(settings: config.Settings) -> None:
    lifetime = Lifetime()
    lifetime.watch(stdin=settings.stop_on_stdin_close)
    await app.serve(settings, lifetime)


def _yield_to_others_less() -> None:
    # gRPC's poller thread otherwise pre-empts the event loop all the time: 1.2 to 1.5 times the throughput.
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


if __name__ == "__main__":
    main()
