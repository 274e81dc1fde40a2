"""Every API folder of a checkout of googleapis, whose place an environment variable names, starts the gateway."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import jsonschema_rs
import psutil
import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from restmap_gateway.json_map import dumps
from restmap_gateway.openapi import describe
from restmap_gateway.schema.schema import Schema, load
from restmap_gateway.transcode.endpoint import compile_routes
from tests.support.ports import free_address
from tests.support.programs import AT_ONCE, PATIENCE, Programs
from tests.support.protoc import DOCUMENTED, compiled

VARIABLE = "BACKUP_SHARING_TEST_GOOGLEAPIS"
CHECKOUT = Path(os.environ.get(VARIABLE, ""))
LARGEST = Path("google/ads/googleads")
"""Folder of versions of the API with the most services, more than a hundred."""

MOST_BYTES = 170 * 10**6

pytestmark = [
    pytest.mark.outside,
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no checkout of googleapis"),
]

_ANNOTATION = re.compile(r"^\s*option \(google\.api\.http\)", re.MULTILINE)


def api_folders() -> list[Path]:
    """Return the folders with annotated methods, relative to the checkout; one that is not there without it."""
    if VARIABLE not in os.environ:
        return [Path("none")]
    files = (path for path in sorted(CHECKOUT.rglob("*.proto")) if _ANNOTATION.search(path.read_text("utf-8")))
    return sorted({path.parent.relative_to(CHECKOUT) for path in files})


def descriptor_set(folder: Path, target: Path) -> Path:
    """Compile all protos of a folder; skip if protoc does not take them."""
    files = [str(path.relative_to(CHECKOUT)) for path in sorted((CHECKOUT / folder).glob("*.proto"))]
    made = target / "set.binpb"
    try:
        made.write_bytes(compiled(*files, folder=CHECKOUT, flags=DOCUMENTED))
    except AssertionError:
        pytest.skip(f"protoc does not take {folder}")
    return made


def rules_of_own_services(image: bytes, folder: Path) -> set[str]:
    """Return method and number of rules of each annotated method in the folder's own files."""
    own = [file for file in FileDescriptorSet.FromString(image).file if Path(file.name).parent == folder]
    methods = (
        (f"{file.package}.{service.name}.{method.name}", method.options.Extensions[annotations_pb2.http])
        for file in own
        for service in file.service
        for method in service.method
        if method.options.HasExtension(annotations_pb2.http)
    )
    return {f"{name}: {1 + len(http.additional_bindings)}" for name, http in methods}


def rules_of(schema: Schema) -> set[str]:
    """Return method and number of rules of each method, served or not."""
    found = Counter(one.method for one in schema.unserved)
    for method in schema.methods:
        found[method.full_name.lstrip("/").replace("/", ".")] += len(method.bindings)
    return {f"{name}: {number}" for name, number in found.items()}


@pytest.fixture(scope="module")
def is_openapi() -> Callable[[Any], None]:
    """Return a function that fails for a document that is not OpenAPI 3.1."""
    text = (resources.files("openapi_spec_validator") / "resources/schemas/v3.1/schema.json").read_text("utf-8")
    validator = jsonschema_rs.validator_for(json.loads(text))

    def check(document: Any) -> None:  # noqa: ANN401 - parsed JSON
        validator.validate(document)
        for schema in document["components"]["schemas"].values():
            jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        lost = {reference for reference in _references(document) if not _is_there(document, reference)}
        assert lost == set()

    return check


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "$ref" and isinstance(item, str):
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _is_there(document: Any, reference: str) -> bool:  # noqa: ANN401 - parsed JSON
    first, *steps = reference.split("/")
    for step in steps:
        document = document.get(step.replace("~1", "/").replace("~0", "~"))
    return first == "#" and document is not None


@pytest.mark.parametrize("folder", api_folders(), ids=str)
def test_an_api_folder_of_googleapis_can_be_served(
    folder: Path, tmp_path: Path, is_openapi: Callable[[Any], None]
) -> None:
    image = descriptor_set(folder, tmp_path).read_bytes()
    schema = load(image, strict=False)
    assert rules_of_own_services(image, folder) <= rules_of(schema)
    compile_routes(schema, depth=100, values=5000, on_unknown=None)
    description = describe(schema, version=None, server_url=None)
    is_openapi(json.loads(dumps(description)))
    assert all(one.method in str(description["info"]) for one in schema.unserved)


def test_cloud_logging_is_served_beside_its_stream(tmp_path: Path) -> None:
    schema = load(descriptor_set(Path("google/logging/v2"), tmp_path).read_bytes(), strict=False)
    assert [one.method for one in schema.unserved] == ["google.logging.v2.LoggingServiceV2.TailLogEntries"]
    served = {method.full_name.rpartition("/")[2] for method in schema.methods}
    assert {"WriteLogEntries", "ListLogEntries", "DeleteLog", "ListSinks"} <= served


def test_the_largest_api_is_served_in_little_memory(tmp_path: Path) -> None:
    versions = [folder for folder in api_folders() if folder.is_relative_to(LARGEST)]
    image = descriptor_set(max(versions, key=lambda folder: int(re.sub(r"\D", "", str(folder)))), tmp_path)
    address = free_address()
    with Programs() as programs:
        gateway = programs.start("restmap_gateway", "--descriptor-set", str(image), "--listen", address, *AT_ONCE)
        gateway.wait_for('"event":"serving"')
        process = psutil.Process(gateway.pid)
        assert process.memory_info().rss < MOST_BYTES
        with urlopen(f"http://{address}/openapi.json", timeout=PATIENCE) as answer:
            assert len(json.load(answer)["tags"]) > 100
        assert process.memory_info().rss < MOST_BYTES
