"""Descriptor sets, compiled from the protos of tests."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from google.api import annotations_pb2
from grpc_tools import protoc  # type: ignore[import-untyped]  # has no types

PROTOS = Path(__file__).parent / "protos"
"""Protos of foreign services, for any test."""

RESTMAP = Path(__file__).parents[2] / "protos"
"""Where ``restmap/v1/restmap.proto`` is."""


def compiled(target: Path, *files: str, folder: Path = PROTOS, flags: tuple[str, ...] = ("--include_imports",)) -> Path:
    """The descriptor set of proto files in a folder or of `PROTOS`; they may import these, restmap's and Google's.

    Args:
        target: the file to write, which is answered.
        files: below the folder.
        folder: is searched first.
        flags: of protoc.
    """
    google = (Path(annotations_pb2.__file__).parents[2], resources.files("grpc_tools") / "_proto")
    included = [f"-I{path}" for path in dict.fromkeys((folder, PROTOS, RESTMAP, *google))]
    assert protoc.main(["protoc", *included, *flags, f"--descriptor_set_out={target}", *files]) == 0, "protoc failed"
    return target
