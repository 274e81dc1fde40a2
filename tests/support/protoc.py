"""Descriptor sets compiled from test protos."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from google.api import annotations_pb2
from grpc_tools import protoc  # type: ignore[import-untyped]  # has no types

PROTOS = Path(__file__).parent / "protos"
"""Protos of foreign services, for any test."""

RESTMAP = Path(__file__).parents[2] / "protos"
"""Folder of ``restmap/v1/restmap.proto``."""


def compiled(target: Path, *files: str, folder: Path = PROTOS, flags: tuple[str, ...] = ("--include_imports",)) -> Path:
    """Compile proto files to a descriptor set; they may import `PROTOS`, restmap's and Google's protos.

    Args:
        target: output file, which is returned.
        files: paths below the folder.
        folder: first folder of the search path.
        flags: flags of protoc.
    """
    google = (Path(annotations_pb2.__file__).parents[2], resources.files("grpc_tools") / "_proto")
    included = [f"-I{path}" for path in dict.fromkeys((folder, PROTOS, RESTMAP, *google))]
    assert protoc.main(["protoc", *included, *flags, f"--descriptor_set_out={target}", *files]) == 0, "protoc failed"
    return target
