"""Descriptor sets compiled from protos: those of foreign services, and those that a test writes itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

from google.api import annotations_pb2
from grpc_tools import protoc  # type: ignore[import-untyped]  # has no types

PROTOS = Path(__file__).parent / "protos"
"""Protos of foreign services, for any test."""

RESTMAP = Path(__file__).parents[2] / "protos"
"""Folder of ``restmap/v1/restmap.proto``."""

DescriptorSets = Callable[..., Path]
"""A function from the names of protos in `PROTOS` to the file with their descriptor set."""

SELF_CONTAINED = ("--include_imports",)
DOCUMENTED = ("--include_imports", "--include_source_info")
"""Option that includes the comments of the protos."""


@cache
def compiled(*files: str, folder: Path = PROTOS, flags: tuple[str, ...] = SELF_CONTAINED) -> bytes:
    """Compile proto files to a descriptor set, once; they may import `PROTOS`, restmap's and Google's protos.

    Args:
        files: paths below the folder.
        folder: first folder of the search path; its files must not change.
        flags: flags of protoc.
    """
    google = (Path(annotations_pb2.__file__).parents[2], resources.files("grpc_tools") / "_proto")
    included = [f"-I{path}" for path in dict.fromkeys((folder, PROTOS, RESTMAP, *google))]
    with TemporaryDirectory() as made:
        target = Path(made) / "set.binpb"
        assert protoc.main(["protoc", *included, *flags, f"--descriptor_set_out={target}", *files]) == 0, (
            "protoc failed"
        )
        return target.read_bytes()


def compiled_texts(texts: Mapping[str, str], *flags: str) -> bytes:
    """Compile protos given as texts by path, once for each content; one of ``restmap/`` only replaces the real one."""
    return _compiled_texts(tuple(texts.items()), flags or SELF_CONTAINED)


@cache
def _compiled_texts(texts: tuple[tuple[str, str], ...], flags: tuple[str, ...]) -> bytes:
    with TemporaryDirectory() as folder:
        for name, text in texts:
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        names = (name for name, _ in texts if not name.startswith(("restmap/", "buf/")))
        return compiled.__wrapped__(*names, folder=Path(folder), flags=flags)
