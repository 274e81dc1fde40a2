"""Example in TypeScript."""

from __future__ import annotations

from tests.system.interop.rows import RENAMED_FIELD, ROOT, Place, Row, check_scenario, command, needs
from tests.system.interop.stubs import absent

_EXAMPLE = ROOT / "examples" / "typescript"


def _missing() -> str:
    return needs("node", "npm", *absent("typescript"))


def _build() -> None:
    command("npm", "run", "build", cwd=_EXAMPLE)


def _run(place: Place) -> None:
    check_scenario(command("node", "dist/main.js", cwd=_EXAMPLE, environment=place.environment(), seconds=120))


def _version() -> str:
    return command("node", "--version").strip().removeprefix("v")


ROWS = [
    Row(
        name="TypeScript",
        api="gRPC",
        what="examples/typescript with Node, stubs by make stubs",
        missing=_missing,
        build=_build,
        run=_run,
        notices=frozenset({RENAMED_FIELD}),
        version=_version,
    )
]
"""Rows that this module adds to the table."""
