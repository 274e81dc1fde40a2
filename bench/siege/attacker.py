"""``python -m bench.siege.attacker NAME …``: makes one attack, and prints what was sent and what came back."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress

from bench.siege.cast import Budget, Target
from bench.siege.catalogue import ATTACKS

_NICE = 10
"""So that those who measure on the same core are not held up by the attacker itself."""


def main(arguments: Sequence[str]) -> None:
    """Attack until the budget is used up."""
    parser = argparse.ArgumentParser(prog="python -m bench.siege.attacker")
    parser.add_argument("name", choices=ATTACKS)
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--rest", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--scale", type=float, required=True)
    chosen = parser.parse_args(arguments)
    os.nice(_NICE)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    attack = ATTACKS[chosen.name]
    budget = Budget(chosen.seconds, int(attack.bytes * chosen.scale) or 1, chosen.scale)
    asyncio.run(_attacked(chosen.name, Target(chosen.grpc, chosen.rest), budget))
    print(json.dumps({"sent": budget.sent, "tally": budget.tally}), flush=True)


async def _attacked(name: str, target: Target, budget: Budget) -> None:
    """End with the time, whatever the attack waits for then; a server that hangs up has defended itself."""
    print("began", flush=True)
    with suppress(TimeoutError):
        async with asyncio.timeout(budget.left):
            try:
                await ATTACKS[name].run(target, budget)
            except* OSError:
                budget.tally["hung up"] += 1
            await asyncio.sleep(budget.left)


if __name__ == "__main__":
    main(sys.argv[1:])
