"""Example in C++."""

from __future__ import annotations

from tests.system.interop.rows import BUILD, RENAMED_FIELD, ClientFailed, Place, Row, check_scenario, command, needs
from tests.system.interop.stubs import absent

_LIBRARY = "grpc++"


def _missing() -> str:
    if why := needs("c++", "cmake", "pkg-config", *absent("cpp")):
        return why
    try:
        command("pkg-config", "--exists", _LIBRARY)
    except ClientFailed:
        return f"{_LIBRARY} not installed"
    return ""


def _build() -> None:
    folder = str(BUILD / "cpp")
    command("cmake", "-S", "examples/cpp", "-B", folder)
    command("cmake", "--build", folder, "--parallel", "2")


def _run(place: Place) -> None:
    check_scenario(command(str(BUILD / "cpp" / "share_backup"), environment=place.environment(), seconds=120))


def _version() -> str:
    compiler, library = command("c++", "-dumpfullversion"), command("pkg-config", "--modversion", _LIBRARY)
    return f"GCC {compiler.strip()}, gRPC {library.strip()}"


ROWS = [
    Row(
        name="C++",
        api="gRPC",
        what="examples/cpp, stubs by make stubs",
        missing=_missing,
        build=_build,
        run=_run,
        notices=frozenset({RENAMED_FIELD}),
        version=_version,
    )
]
"""Rows that this module adds to the table."""
