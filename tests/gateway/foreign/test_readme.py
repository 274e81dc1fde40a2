"""The steps of docs/how-to/own-service.md work."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from restmap_gateway.config import load as load_settings
from restmap_gateway.schema.schema import load
from tests.support.programs import PATIENCE, ROOT
from tests.support.protoc import PROTOS

PAGE = (ROOT / "docs" / "how-to" / "own-service.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    block = re.search(r"```sh\n(GOOGLEAPIS.*?)```", PAGE, re.DOTALL)
    assert block is not None
    return block[1].splitlines()


def test_the_commands_make_a_set_that_the_gateway_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(PROTOS / "library.proto", tmp_path)
    *compile_it, serve_it = commands()
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    script = "\n".join(("set -e", *compile_it))
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, check=True, timeout=PATIENCE)
    monkeypatch.chdir(tmp_path)
    settings = load_settings(shlex.split(serve_it)[1:])
    assert settings.descriptor_set is not None
    schema = load(settings.descriptor_set.read_bytes(), services=["library.v1.Library"])
    assert len(schema.methods) == 10
