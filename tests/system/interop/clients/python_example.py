"""Example in Python."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig

from tests.system.interop.rows import RENAMED_FIELD, ROOT, STUBS, Place, Row, check_scenario, command


def _build() -> None:
    """Do nothing: Python stubs need no build."""


def _run(place: Place) -> None:
    # -S: otherwise the repository's stubs, installed beside grpcio, would hide those of `make stubs`.
    path = os.pathsep.join((str(STUBS / "python"), sysconfig.get_path("platlib"), sysconfig.get_path("purelib")))
    example = str(ROOT / "examples" / "python" / "main.py")
    check_scenario(command(sys.executable, "-S", example, environment={**place.environment(), "PYTHONPATH": path}))


ROWS = [
    Row(
        name="Python",
        api="gRPC",
        what="examples/python, stubs by make stubs",
        missing=lambda: "",
        build=_build,
        run=_run,
        notices=frozenset({RENAMED_FIELD}),
        version=platform.python_version,
    )
]
"""Rows that this module adds to the table."""
