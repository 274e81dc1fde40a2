"""Entry point of the gateway, both the generic one and one packaged with a service: serve until stopped."""

from __future__ import annotations

from programkit.process.hangups import hold_hangups
from restmap_gateway.program import RESTMAP_GATEWAY, Program


def main(program: Program = RESTMAP_GATEWAY) -> None:
    """Run the gateway with the settings of the command line; exit with 2 if it cannot start."""
    hold_hangups()  # before the imports, which take a second: without a handler SIGHUP ends the process
    from restmap_gateway.running import run_gateway

    run_gateway(program)


if __name__ == "__main__":
    main()
