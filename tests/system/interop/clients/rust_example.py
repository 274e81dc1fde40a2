"""Example in Rust."""

from __future__ import annotations

from tests.system.interop.rows import BUILD, RENAMED_FIELD, ROOT, Place, Row, check_scenario, command, needs
from tests.system.interop.stubs import absent

_SOURCE = ROOT / "examples" / "rust"
_TARGET = BUILD / "rust"


def _build() -> None:
    command("cargo", "fmt", "--check", cwd=_SOURCE)
    command("cargo", "clippy", "--quiet", "--target-dir", str(_TARGET), "--", "--deny", "warnings", cwd=_SOURCE)
    command("cargo", "build", "--quiet", "--target-dir", str(_TARGET), cwd=_SOURCE)


def _run(place: Place) -> None:
    program = _TARGET / "debug" / "backup-sharing-example"
    check_scenario(command(str(program), environment=place.environment(), seconds=60.0))


ROWS = [
    Row(
        name="Rust",
        api="gRPC",
        what="examples/rust, stubs by make stubs",
        missing=lambda: needs("cargo", "cargo-clippy", "rustfmt", *absent("rust")),
        build=_build,
        run=_run,
        notices=frozenset({RENAMED_FIELD}),
        version=lambda: command("rustc", "--version", cwd=_SOURCE).split()[1],
    )
]
"""Rows that this module adds to the table."""
