"""Clients that generators make from the descriptions at /openapi.json and /openapi-3.0.json."""

from __future__ import annotations

import json
import shutil
import sys
import uuid
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import metadata
from pathlib import Path

import grpc

from backupsharing.v2.backup_catalog_pb2 import PutBackupRequest
from backupsharing.v2.backup_catalog_pb2_grpc import BackupCatalogServiceStub
from backupsharing.v2.backup_pb2 import Backup
from restmap_gateway.openapi import describe
from restmap_gateway.openapi.openapi30 import to_openapi_30
from restmap_gateway.schema.schema import load
from tests.system.interop.rows import BUILD, ClientFailed, Place, Row, command, needs
from tests.system.interop.stubs import IMAGE

_SOURCES = Path(__file__).parents[1] / "generated"
_FOLDER = BUILD / "generated"
_NEWER, _OLDER = _FOLDER / "openapi.json", _FOLDER / "openapi-3.0.json"
_BIN = _FOLDER / "bin"
_PYTHON = _FOLDER / "python" / "bin" / "python"
_GO_GENERATORS = {
    "oapi-codegen": "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.5.0",
    "ogen": "github.com/ogen-go/ogen/cmd/ogen@v1.14.0",
}
_JAR = "org.openapitools:openapi-generator-cli:7.17.0"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
_EXPECTED = ("shared 2", "409 BackupSharing.0002", "listed 2", "404 VolumeBackup.0043")


@cache
def _descriptions() -> None:
    """Write the descriptions as the gateway serves them; an unchanged one keeps its time, so nothing is rebuilt."""
    newer = describe(load(IMAGE.read_bytes()), version=metadata.version("backup-sharing"), server_url=None)
    _FOLDER.mkdir(parents=True, exist_ok=True)
    for path, description in ((_NEWER, newer), (_OLDER, to_openapi_30(newer))):
        text = json.dumps(description, indent=1)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _sources(name: str) -> Path:
    """Copy the program for a generator to the folder in which its client is built; return this folder."""
    _descriptions()
    folder = _FOLDER / name
    shutil.copytree(_SOURCES / name, folder, dirs_exist_ok=True)
    return folder


def _build_go(name: str, *words: str) -> None:
    folder = _sources(name)
    command("go", "install", _GO_GENERATORS[name], environment={"GOBIN": str(_BIN)})
    (folder / "rest").mkdir(exist_ok=True)
    command(str(_BIN / name), *words, str(_OLDER), cwd=folder)
    command("go", "vet", "./...", cwd=folder)
    command("go", "build", "-o", "client", ".", cwd=folder)


def _build_rust() -> None:
    folder = _sources("progenitor")
    command("cargo", "build", "--quiet", cwd=folder, environment=_rust_environment())


def _rust_environment() -> dict[str, str]:
    return {"OPENAPI": str(_OLDER), "CARGO_TARGET_DIR": str(_FOLDER / "progenitor" / "target")}


@cache
def _python() -> Path:
    """Install all Python generators; return the folder of the programs."""
    folder = _sources("python")
    command(sys.executable, "-m", "venv", str(folder))
    command(str(_PYTHON), "-m", "pip", "install", "--quiet", "-r", "requirements.txt", cwd=folder)
    return folder


def _build_openapi_python_client() -> None:
    folder = _python()
    generator, out = str(_PYTHON.with_name("openapi-python-client")), ("--output-path", "rest", "--overwrite")
    path = {"PATH": f"{_PYTHON.parent}:/usr/bin:/bin"}  # it formats with the ruff that it finds
    words = ("--path", str(_NEWER), "--meta", "none", "--fail-on-warning", *out)
    command(generator, "generate", *words, cwd=folder, environment=path)


def _build_datamodel_codegen() -> None:
    generator = str(_PYTHON.with_name("datamodel-codegen"))
    kind = ("--input-file-type", "openapi", "--output-model-type", "pydantic_v2.BaseModel")
    command(generator, "--input", str(_NEWER), *kind, "--output", "models.py", cwd=_python())


@cache
def _jar() -> Path:
    """Return openapi-generator, which Maven copies."""
    copied = (f"-Dartifact={_JAR}", f"-DoutputDirectory={_BIN}")
    command("mvn", "--quiet", "--batch-mode", f"{_COPY}:copy", *copied)
    return _BIN / f"openapi-generator-cli-{_JAR.rpartition(':')[2]}.jar"


def _build_openapi_generator_python() -> None:
    _openapi_generator("python", _python())


def _build_java() -> None:
    folder = _sources("java")
    _openapi_generator("java", folder, "--library", "native")
    (folder / "Main.java").replace(folder / "src" / "main" / "java" / "Main.java")
    path = (f"{_COPY}:build-classpath", "-Dmdep.outputFile=classpath.txt")
    command("mvn", "--quiet", "--batch-mode", "compile", *path, cwd=folder)


def _openapi_generator(language: str, out: Path, *words: str) -> None:
    _descriptions()
    command("java", "-jar", str(_jar()), "generate", "-i", str(_NEWER), "-g", language, "-o", str(out), *words)


@cache
def _typescript() -> Path:
    """Generate all clients in TypeScript and compile them; return the folder of the programs."""
    folder = _sources("typescript")
    command("npm", "ci", "--no-audit", "--no-fund", cwd=folder)
    rest = folder / "rest"
    shutil.rmtree(rest, ignore_errors=True)
    rest.mkdir()
    for words in (
        ("openapi-typescript", str(_NEWER), "-o", "rest/openapi-typescript.d.ts"),
        ("openapi-ts", "-i", str(_NEWER), "-o", "rest/hey-api", "-c", "@hey-api/client-fetch", "--no-log-file"),
        ("orval", "--input", str(_NEWER), "--output", "rest/orval.ts", "--client", "fetch"),
        ("swagger-typescript-api", "generate", "-p", str(_NEWER), "-o", "rest", "-n", "swagger-typescript-api.ts"),
        ("oazapfts", str(_NEWER), "rest/oazapfts.ts"),
    ):
        command("npx", "--no-install", *words, cwd=folder)
    command("npx", "--no-install", "tsc", cwd=folder)
    return folder


def _build_typescript(name: str) -> None:
    bundle = ("--bundle", "--platform=node", "--format=esm", f"--outfile=dist/{name}.mjs")
    command("npx", "--no-install", "esbuild", f"{name}.ts", *bundle, cwd=_typescript())


def _run(words: Callable[[], Sequence[str]], folder: str, place: Place) -> None:
    """Run a program with a new backup; check its output."""
    backup_id = _put_backup(place)
    environment = {**place.environment(), "BACKUP_SHARING_BACKUP": backup_id}
    printed = command(*words(), cwd=_FOLDER / folder, environment=environment, seconds=120.0)
    if tuple(printed.strip().splitlines()) != _EXPECTED:
        raise ClientFailed(f"printed {printed!r}, expected {_EXPECTED}")


def _put_backup(place: Place) -> str:
    """Put a backup as the backup service does, over gRPC; return its id."""
    backup = Backup(id=str(uuid.uuid4()), project_id=place.project, status="available", size=40)
    with grpc.insecure_channel(place.grpc) as channel:
        try:
            BackupCatalogServiceStub(channel).PutBackup(
                PutBackupRequest(backup=backup), metadata=(("x-auth-token", place.service_token),), timeout=10
            )
        except grpc.RpcError as failure:
            raise ClientFailed(f"PutBackup: {failure}") from None
    return backup.id


def _java_words() -> Sequence[str]:
    classpath = (_FOLDER / "java" / "classpath.txt").read_text(encoding="utf-8").strip()
    return ("java", "-cp", f"target/classes:{classpath}", "Main")


def _row(
    name: str,
    version: str,
    tools: Sequence[str],
    build: Callable[[], None],
    words: Callable[[], Sequence[str]],
    folder: str,
    notices: Sequence[str],
    description: str = "OpenAPI 3.1",
) -> Row:
    return Row(
        name=name,
        api="REST",
        what=f"generated from {description}: share, list, an error, cancel",
        missing=lambda: needs(*tools),
        build=build,
        run=partial(_run, words, folder),
        notices=frozenset(notices),
        version=lambda: version,
        rarely=name != "openapi-python-client",
    )


def _of_python(name: str, version: str, build: Callable[[], None], program: str, notices: Sequence[str]) -> Row:
    tools = ("java", "mvn") if "openapi-generator" in name else ()
    return _row(name, version, tools, build, lambda: (str(_PYTHON), program), "python", notices)


def _of_typescript(name: str, version: str, program: str = "") -> Row:
    program = program or name
    words = ("node", f"dist/{program}.mjs")
    build = partial(_build_typescript, program)
    return _row(name, version, ("node", "npm"), build, lambda: words, "typescript", ("field", "null", "time"))


_OAPI = ("-generate", "types,client", "-package", "rest", "-o", "rest/client.gen.go")
_OGEN = ("--target", "rest", "--package", "rest", "--clean")
_RUST = "target/debug/backup-sharing-rest"
_ALL = ("field", "null", "time")

ROWS = [
    _row(
        "oapi-codegen", "2.5.0", ("go",), partial(_build_go, "oapi-codegen", *_OAPI), lambda: ("./client",),
        "oapi-codegen", _ALL, "OpenAPI 3.0",
    ),
    _row("ogen", "1.14.0", ("go",), partial(_build_go, "ogen", *_OGEN), lambda: ("./client",), "ogen", _ALL,
         "OpenAPI 3.0"),
    _row("progenitor", "0.15", ("cargo",), _build_rust, lambda: (str(_FOLDER / "progenitor" / _RUST),), "progenitor",
         _ALL, "OpenAPI 3.0"),
    _of_python("openapi-python-client", "0.29.1", _build_openapi_python_client, "openapi_python_client.py", _ALL),
    _of_python("datamodel-code-generator", "0.89.0", _build_datamodel_codegen, "datamodel_codegen.py", _ALL),
    _of_python("openapi-generator, Python", "7.17.0", _build_openapi_generator_python, "openapi_generator.py", _ALL),
    _row("openapi-generator, Java", "7.17.0", ("java", "mvn"), _build_java, _java_words, "java", _ALL),
    _of_typescript("openapi-typescript", "7.13.0", "openapi-fetch"),
    _of_typescript("Hey API", "0.95.0", "hey-api"),
    _of_typescript("Orval", "7.13.2", "orval"),
    _of_typescript("swagger-typescript-api", "13.13.0"),
    _of_typescript("oazapfts", "7.5.0"),
]  # fmt: skip
"""Rows that this module adds to the table."""
