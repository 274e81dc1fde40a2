"""Each value that the OpenAPI description allows is accepted by the server, and each other value is refused."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import pytest
from jsonschema import Draft202012Validator

from tests.support.programs import PATIENCE
from tests.support.system import ADMIN_TOKEN, Project, System

SHARINGS = "/v2/{project_id}/os-vendor-backup-sharing"
ID = "8332443e-9866-41d8-8a58-a898cf5db030"
TEXTS = (
    *("", "a", "A-b_9", "a b", "a/b", "a.b", "ä", "%", "'", "a\nb", "a\0b", "true", "null", "0", "-1"),
    *("x" * length for length in (63, 64, 65, 254, 255, 256)),
    *(ID, ID.upper(), ID.replace("-", ""), f"{{{ID}}}", f"{ID}0", ID[:-1], ID.replace("8", "g"), ID.replace("-", "_")),
    *("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at", "deleted_at"),
    *("asc", "desc", "ASC", "asc,desc", "NAME", "!~", "a\x7f"),
)
NUMBERS = (-(2**31) - 1, -(2**31), -1, 0, 1, 2, 1000, 1001, 2**31 - 1, 2**31, 10**30)
FORMATS = Draft202012Validator.FORMAT_CHECKER
BOOLEANS = ("true", "false", "True", "TRUE", "1", "0", "yes")


@dataclass(frozen=True, slots=True)
class Call:
    """A call, valid in all parts."""

    method: str
    path: str
    in_path: dict[str, str]
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None

    @property
    def target(self) -> str:
        path = self.path.format(**{name: quote(value, safe="") for name, value in self.in_path.items()})
        return f"{path}?{urlencode(self.query)}" if self.query else path

    def with_value(self, place: str, name: str, value: str) -> Call:
        """Return the call with another value of a parameter."""
        member = {"path": "in_path", "query": "query", "header": "headers"}[place]
        return replace(self, **{member: {**getattr(self, member), name: value}})


@pytest.fixture(scope="module")
def description(system: System) -> dict[str, Any]:
    """Return the description that the running gateway serves."""
    with urlopen(f"http://{system.rest.address}/openapi.json", timeout=PATIENCE) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def calls(giver: Project, backup_id: str) -> Iterator[Call]:
    """Yield each call of the API once; the calls change nothing, because they are about objects that do not exist."""
    project = {"project_id": giver.id}
    body = {"shared": {"to_project_ids": ["recipient"], "backup_id": backup_id}}
    yield Call("POST", SHARINGS, project, body=body)
    yield Call("GET", f"{SHARINGS}/detail", project)
    yield Call("GET", f"{SHARINGS}/count", project)
    yield Call("GET", f"{SHARINGS}/{{id}}", {**project, "id": ID})
    yield Call("GET", f"{SHARINGS}-events", project)
    yield Call("DELETE", f"{SHARINGS}/{{id}}", {**project, "id": ID})


def texts_for(place: str, schema: Any) -> Iterator[tuple[str, bool]]:  # noqa: ANN401 - JSON
    """Yield texts for a parameter, and whether its schema allows them."""
    validator = Draft202012Validator(schema, format_checker=FORMATS)
    if schema["type"] == "integer":
        yield from ((str(number), validator.is_valid(number)) for number in NUMBERS)
        yield from ((text, False) for text in ("x", "1.5", "", "0x1", "--1"))
    elif schema["type"] == "boolean":
        yield from ((text, text in ("true", "false")) for text in (*BOOLEANS, ""))
    else:
        # A header cannot carry the others, and an empty segment is another path.
        texts = TEXTS if place != "header" else [text for text in TEXTS if text.isascii() and text.isprintable()]
        yield from ((text, validator.is_valid(text)) for text in texts if text or place != "path")


async def is_accepted(system: System, call: Call) -> bool:
    """Make a call; return whether its values were accepted: a failure for another reason comes after this check."""
    answer = await system.rest.call(call.method, call.target, token=ADMIN_TOKEN, body=call.body, headers=call.headers)
    assert answer.status in (200, 400, 404), answer
    return answer.status != 400


async def test_parameters_are_accepted_exactly_as_described(
    system: System, giver: Project, description: dict[str, Any]
) -> None:
    wrong, tried = [], 0
    for call in calls(giver, str(uuid.uuid4())):
        operation = description["paths"][call.path][call.method.lower()]
        for parameter in operation["parameters"]:
            place, name = parameter["in"], parameter["name"]
            for text, is_allowed in texts_for(place, parameter["schema"]):
                allowed = is_allowed or (text == "" and parameter.get("allowEmptyValue", False))
                tried += 1
                if await is_accepted(system, call.with_value(place, name, text)) is not allowed:
                    wrong.append((call.method, call.path, name, text[:70], "allowed" if allowed else "forbidden"))
    assert wrong == []
    assert tried > 500


async def test_body_members_are_accepted_exactly_as_described(
    system: System, giver: Project, description: dict[str, Any]
) -> None:
    call = next(calls(giver, str(uuid.uuid4())))
    schema = description["paths"][call.path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    validator = Draft202012Validator(schema | {"components": description["components"]}, format_checker=FORMATS)
    many = [f"p{number}" for number in range(1001)]
    lists = [[], ["a"], ["a", "A"], ["a", "a"], many[:-1], many, [*many[:999], "p0"], *([text] for text in TEXTS)]
    bodies: list[Any] = [{**call.body["shared"], "to_project_ids": one} for one in lists]
    bodies += [{**call.body["shared"], "backup_id": text} for text in TEXTS]
    bodies += [{}, None, {"backup_id": ID}, {"to_project_ids": ["a"]}, {**call.body["shared"], "note": 1}]
    wrong = []
    for shared in bodies:
        body = {"shared": shared}
        if await is_accepted(system, replace(call, body=body)) is not validator.is_valid(body):
            wrong.append(json.dumps(body)[:100])
    assert wrong == []
