"""Descriptor sets of foreign services for gateways."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.protoc import DescriptorSets, compiled


@pytest.fixture(scope="session")
def descriptor_set(tmp_path_factory: pytest.TempPathFactory) -> DescriptorSets:
    """Return a function from the names of foreign protos to the file with their descriptor set, written once."""
    folder = tmp_path_factory.mktemp("sets")

    def written_once(*names: str) -> Path:
        target = folder / f"{'-'.join(names)}.binpb"
        if not target.exists():
            target.write_bytes(compiled(*(f"{name}.proto" for name in names)))
        return target

    return written_once
