"""What gateway/README.md says can be done, can be done."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from restmap.v1 import restmap_pb2
from restmap_gateway.config import load as load_settings
from restmap_gateway.schema.schema import load
from tests.support.programs import PATIENCE, ROOT
from tests.support.protoc import PROTOS

README = (ROOT / "gateway" / "README.md").read_text(encoding="utf-8")
OPTIONS = [
    restmap_pb2.MessageMapping,
    restmap_pb2.FieldMapping,
    restmap_pb2.MethodMapping,
    restmap_pb2.FileMapping,
    restmap_pb2.ReasonMapping,
]


def commands() -> list[str]:
    block = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    assert block is not None
    return block[1].splitlines()


def test_the_commands_make_a_set_that_the_gateway_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(PROTOS / "foreign/v1/library.proto", tmp_path)
    *compile_it, serve_it = commands()
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    script = "\n".join(("set -e", *compile_it))
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, check=True, timeout=PATIENCE)
    monkeypatch.chdir(tmp_path)
    settings = load_settings(shlex.split(serve_it)[1:])
    assert settings.descriptor_set is not None
    schema = load(settings.descriptor_set.read_bytes(), services=["library.v1.Library"])
    assert len(schema.methods) == 10


@pytest.mark.parametrize("name", sorted(field.name for option in OPTIONS for field in option.DESCRIPTOR.fields))
def test_every_option_is_in_the_table(name: str) -> None:
    assert re.search(rf"^\|[^|]*\| `{name}` \|", README, re.MULTILINE)


@pytest.mark.parametrize("name", re.findall(r"`([\w/]+\.py)`", README))
def test_every_file_on_the_way_is_there(name: str) -> None:
    assert (ROOT / "gateway" / "restmap_gateway" / name).is_file()
