"""Example in Java."""

from __future__ import annotations

from tests.system.interop.rows import BUILD, RENAMED_FIELD, Place, Row, check_scenario, command, needs
from tests.system.interop.stubs import absent


def _missing() -> str:
    return needs("java", "mvn", *absent("java"))


def _build() -> None:
    # "clean" removes compiled classes of deleted stubs, which would hide the deletion.
    command("mvn", "--quiet", "--batch-mode", "--file", "examples/java/pom.xml", "clean", "package")


def _run(place: Place) -> None:
    jar = BUILD / "java" / "share-backup.jar"
    check_scenario(command("java", "-jar", str(jar), environment=place.environment(), seconds=120))


def _version() -> str:
    # output: java 17.0.15 2025-04-15
    return command("java", "--version").split()[1]


ROWS = [
    Row(
        name="Java",
        api="gRPC",
        what="examples/java, stubs by make stubs",
        missing=_missing,
        build=_build,
        run=_run,
        notices=frozenset({RENAMED_FIELD}),
        version=_version,
    )
]
"""Rows that this module adds to the table."""
