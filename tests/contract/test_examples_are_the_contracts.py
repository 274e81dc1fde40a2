"""The copies of the contract in this folder are identical to the contract, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

COPIES = Path(__file__).parent
CONTRACT = COPIES.parents[2] / "shared" / "contract"

pytestmark = pytest.mark.skipif(not CONTRACT.is_dir(), reason="this checkout has no ../shared/contract")


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.json"))}


def test_every_json_file_of_the_contract_is_here_and_no_other() -> None:
    assert sorted(_files(COPIES)) == sorted(_files(CONTRACT))


@pytest.mark.parametrize("name", sorted(_files(COPIES)))
def test_a_copy_has_the_bytes_of_the_contract(name: str) -> None:
    assert _files(COPIES)[name] == _files(CONTRACT)[name]
