"""Example in Go."""

from __future__ import annotations

from tests.system.interop.rows import (
    BUILD,
    RENAMED_FIELD,
    ROOT,
    ClientFailed,
    Place,
    Row,
    check_scenario,
    command,
    needs,
)
from tests.system.interop.stubs import absent

_SOURCE = ROOT / "examples" / "go"
_PROGRAM = BUILD / "go" / "example"


def _build() -> None:
    if untidy := command("gofmt", "-d", ".", cwd=_SOURCE):
        raise ClientFailed(untidy)
    command("go", "vet", "./...", cwd=_SOURCE)
    command("go", "build", "-o", str(_PROGRAM), ".", cwd=_SOURCE)


def _run(place: Place) -> None:
    check_scenario(command(str(_PROGRAM), environment=place.environment(), seconds=60.0))


ROWS = [
    Row(
        name="Go",
        api="gRPC",
        what="examples/go, stubs by make stubs",
        missing=lambda: needs("go", "gofmt", *absent("go")),
        build=_build,
        run=_run,
        notices=frozenset({RENAMED_FIELD}),
        version=lambda: command("go", "env", "GOVERSION", cwd=_SOURCE).strip().removeprefix("go"),
    )
]
"""Rows that this module adds to the table."""
