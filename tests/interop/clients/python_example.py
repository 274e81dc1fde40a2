"""The example in Python."""

from __future__ import annotations

import platform
import sys

from tests.interop.rows import ROOT, STUBS, Place, Row, check_scenario, command


def _build() -> None:
    """Nothing: the stubs are used as they are."""


def _run(place: Place) -> None:
    environment = {**place.environment(), "PYTHONPATH": str(STUBS / "python")}
    check_scenario(command(sys.executable, str(ROOT / "examples" / "python" / "main.py"), environment=environment))


ROWS = [
    Row(
        name="Python",
        door="gRPC",
        what="examples/python, stubs by make stubs",
        missing=lambda: "",
        build=_build,
        run=_run,
        version=platform.python_version,
    )
]
"""What this module adds to the table."""
