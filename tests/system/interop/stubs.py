"""Generate stubs from the descriptor image into ``build/stubs/<language>``: ``make stubs``.

The languages are those of the plugins in buf.gen.yaml, and Python. A language without its plugins on this machine is
skipped, with the reason in the output; ``--only NAME`` (repeatable) selects languages.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.system.interop.rows import ROOT, STUBS, ClientFailed, command

IMAGE = ROOT / "protos" / "backupsharing" / "image.binpb"
"""Descriptor image that ``make generate`` writes."""
TEMPLATE = ROOT / "buf.gen.yaml"
TOOLS = ROOT / "build" / "tools"
"""Folder for the plugins of ``make plugins``; its ``bin`` is searched in addition to the ``PATH``."""
PYTHON = "python"
BESIDE: Mapping[str, Mapping[str, str]] = {"go": {"go.mod": "module backupsharing.example/stubs\n\ngo 1.24\n"}}
"""Additional files by language. For Go, a go.mod turns the packages into a module."""
SEARCH = os.pathsep.join((str(TOOLS / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")))
"""Search path for programs; programs that ``make`` installed take precedence."""


def plugins() -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Return the plugins of buf.gen.yaml by output language."""
    by_language: dict[str, list[Mapping[str, Any]]] = {}
    for plugin in _template()["plugins"]:
        by_language.setdefault(Path(plugin["out"]).name, []).append(plugin)
    return by_language


def absent(language: str) -> Sequence[str]:
    """Return the missing programs for generating a language."""
    if language == PYTHON:
        return ()
    return [name for name in map(_program, plugins()[language]) if not _is_here(name)]


def generate(image: Path = IMAGE, only: Collection[str] = ()) -> Mapping[str, str]:
    """Generate stubs for every possible language, and replace existing stubs.

    Args:
        image: descriptor image.
        only: languages; empty means all.

    Returns:
        Result of each language: ``generated``, or the reason for skipping the language.

    Raises:
        ClientFailed: a plugin failed, or a language is unknown.
    """
    languages = [PYTHON, *plugins()]
    if unknown := set(only) - set(languages):
        raise ClientFailed(f"no plugins for {', '.join(sorted(unknown))}; supported: {', '.join(languages)}")
    return {language: _keeping_times(language, image) for language in languages if not only or language in only}


def _keeping_times(language: str, image: Path) -> str:
    """Generate; an unchanged file keeps its modification time, so that clients are not rebuilt."""
    files = [path for path in (STUBS / language).rglob("*") if path.is_file()]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    result = _generate(language, image)
    for path, (content, time) in before.items():
        if path.is_file() and path.read_bytes() == content:
            os.utime(path, ns=(time, time))
    return result


def _generate(language: str, image: Path) -> str:
    # Also for a skipped language, because stubs of an earlier run are not from this image.
    shutil.rmtree(STUBS / language, ignore_errors=True)
    if missing := absent(language):
        return f"skipped: {', '.join(missing)} not installed"
    (STUBS / language).mkdir(parents=True)
    if language == PYTHON:
        _generate_python(image)
        return "generated"
    template = _template() | {"plugins": plugins()[language]}
    template["inputs"] = [{**template["inputs"][0], "binary_image": str(image)}]
    # buf accepts the template as JSON; the repository's file contains all languages.
    command("buf", "generate", "--template", json.dumps(template), environment={"PATH": SEARCH})
    for name, text in BESIDE.get(language, {}).items():
        (STUBS / language / name).write_text(text, encoding="utf-8")
    return "generated"


def _generate_python(image: Path) -> None:
    files = FileDescriptorSet.FromString(image.read_bytes()).file
    ours = [file.name for file in files if not file.name.startswith("google/")]
    out = str(STUBS / PYTHON)
    outs = (f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}")
    command(sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={image}", *outs, *ours)


def _template() -> dict[str, Any]:
    template: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    return template


def _program(plugin: Mapping[str, Any]) -> str:
    """Return the program of a plugin, or protoc for a plugin that is built into protoc."""
    named = plugin.get("local") or plugin.get("protoc_path") or "protoc"
    return str(named if isinstance(named, str) else named[0])


def _is_here(program: str) -> bool:
    return shutil.which(program, path=SEARCH) is not None or (ROOT / program).is_file()


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="make stubs", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a language; may be repeated")
    parser.add_argument("--image", type=Path, default=IMAGE, help="descriptor image to generate from")
    chosen = parser.parse_args(arguments)
    try:
        done = generate(chosen.image.resolve(), chosen.only)
    except ClientFailed as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    for language, result in done.items():
        sys.stdout.write(f"{language}: {result}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
