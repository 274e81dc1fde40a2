"""Calls generated from the OpenAPI description: every response must match the description."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV30SpecValidator, validate
from schemathesis import Case, GenerationMode, checks

from backupsharing.v2.backup_sharing_pb2 import BackupRecipients, ShareBackupRequest
from tests.support.programs import PATIENCE
from tests.support.system import ADMIN_TOKEN, Project, System

pytestmark = pytest.mark.outside

OPERATIONS = ("ShareBackup", "CancelSharing", "ListSharings", "CountSharings", "GetSharing", "ListSharingEvents")
CHECKS = (
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
)
BUDGET = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True, slots=True)
class World:
    """Existing objects, so that generated calls can refer to them."""

    system: System
    giver: Project
    recipients: list[str]
    backup_ids: list[str]
    sharing_ids: list[str]

    def call(self, case: Case, session: requests.Session, token: str = "") -> int:
        """Make a call and validate its response against the description; return the status."""
        # Schemathesis makes up credentials for each scheme, of any text; only a real one gets to the checks of values.
        others = {name: text for name, text in (case.headers or {}).items() if name != "Authorization"}
        case.headers = {**others, "X-Auth-Token": token or self.giver.token}
        answer = case.call(base_url=f"http://{self.system.rest.address}", session=session, timeout=PATIENCE)
        case.validate_response(answer, checks=list(CHECKS))
        return int(answer.status_code)


@pytest.fixture
def world(system: System, giver: Project) -> World:
    """Project with backups, some of which are shared."""
    backup_ids = [system.put_backup(giver, name=f"backup {number}", size=number) for number in range(6)]
    recipients = [system.new_project().id for _ in range(3)]
    metadata = [("x-auth-token", giver.token)]
    sharing_ids = []
    for backup_id in backup_ids[:3]:
        shared = BackupRecipients(to_project_ids=recipients, backup_id=backup_id)
        answer = system.sharings.ShareBackup(ShareBackupRequest(project_id=giver.id, shared=shared), metadata=metadata)
        sharing_ids += [sharing.id for sharing in answer.shared]
    return World(system, giver, recipients, backup_ids, sharing_ids)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture(scope="module")
def description(system: System) -> dict[str, Any]:
    """Return the description that the running gateway serves."""
    with urlopen(f"http://{system.rest.address}/openapi.json", timeout=PATIENCE) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def closed(schema: Any) -> Any:  # noqa: ANN401 - any part of a description
    """Return the schema with undescribed members forbidden, so that an undocumented member fails validation."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    same = {name: closed(one) for name, one in schema.items()}
    return {"additionalProperties": False} | same if isinstance(same.get("properties"), dict) else same


def operation(description: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - depends on the kind of API
    """Return an operation that can generate calls."""
    schema = schemathesis.openapi.from_dict(closed(description))
    service = "BackupAccessService" if name == "ListSharingEvents" else "BackupSharingService"
    return schema.find_operation_by_id(f"{service}_{name}")


@st.composite
def likely(draw: st.DrawFn, operation: Any, world: World) -> Case:  # noqa: ANN401
    """Generate a valid call that often refers to existing objects."""
    case: Case = draw(operation.as_strategy())
    often = st.sampled_from([True, True, True, False])
    if draw(often):
        case.path_parameters["project_id"] = world.giver.id
    if "id" in case.path_parameters and draw(often):
        case.path_parameters["id"] = draw(st.sampled_from([*world.sharing_ids, *world.backup_ids]))
    if case.query and "start_time" in case.query:
        case.query.pop("end_time", None)  # no description can say that it must be later
    if case.headers and case.headers.get("X-Sharing-Expire-Time"):
        case.headers["X-Sharing-Expire-Time"] = "2099-12-31T00:00:00Z"  # nor that it must be in the future
    if isinstance(case.body, dict) and draw(often):
        recipients = st.lists(st.sampled_from(world.recipients), min_size=1, max_size=2, unique=True)
        case.body["shared"] = {
            "to_project_ids": draw(recipients),
            "backup_id": draw(st.sampled_from(world.backup_ids)),
        }
    return case


def test_what_the_gateway_says_of_itself_is_valid(description: dict[str, Any]) -> None:
    validate(description)


def test_the_gateway_also_describes_itself_in_openapi_3_0(system: System, description: dict[str, Any]) -> None:
    with urlopen(f"http://{system.rest.address}/openapi-3.0.json", timeout=PATIENCE) as answer:
        older = json.load(answer)
    OpenAPIV30SpecValidator(older).validate()
    assert (older["openapi"], older["info"], older["tags"]) == ("3.0.3", description["info"], description["tags"])
    assert older["paths"].keys() == description["paths"].keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_calls_as_described_are_answered_as_described(
    world: World, description: dict[str, Any], session: requests.Session, name: str
) -> None:
    seen: Counter[int] = Counter()

    @BUDGET
    @given(case=likely(operation(description, name), world))
    def make(case: Case) -> None:
        status = world.call(case, session)
        seen[status] += 1
        assert status != 400, (case.path_parameters, case.headers, case.body)

    make()
    assert 200 in seen, f"no call succeeds: {seen}"
    assert 400 not in seen, f"a call that the description allows is refused: {seen}"


@pytest.mark.parametrize("name", OPERATIONS)
def test_calls_that_break_the_description_are_never_done(
    world: World, description: dict[str, Any], session: requests.Session, name: str
) -> None:
    seen: Counter[int] = Counter()

    @BUDGET
    @given(case=operation(description, name).as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def make(case: Case) -> None:
        broken = broken_parts(case)
        if "path" not in broken:
            case.path_parameters["project_id"] = world.giver.id
        # Every project is open to an administrator, so that a malformed one is refused for its form.
        status = world.call(case, session, ADMIN_TOKEN)
        assert status >= 400 or not broken, f"accepted: {case.path_parameters} {case.query} {case.headers} {case.body}"
        seen[status] += 1

    make()
    assert 400 in seen, f"statuses are missing: {seen}"


def broken_parts(case: Case) -> set[str]:
    """Return the invalid parts of a call that the server can see.

    Empty query parameters are allowed (``allowEmptyValue``). Nothing is sent of an empty list, and only the keys of an
    object, as texts. HTTP removes spaces around headers, and the test sends its own token.
    """
    assert case.meta is not None
    parts = {place.value for place, part in case.meta.components.items() if part.mode.is_negative}
    key = (case.headers or {}).get("Idempotency-Key", "")
    is_key_fine = key is None or re.fullmatch("[!-~]{0,255}", key.strip()) is not None
    # A query sends an object as the names of its members, which may be a valid text.
    is_query_fine = any(value in ("", []) or isinstance(value, dict) for value in case.query.values())
    return parts - ({"query"} if is_query_fine else set()) - ({"header"} if is_key_fine else set())


def without_success(description: dict[str, Any]) -> None:
    del description["paths"]["/v2/{project_id}/os-vendor-backup-sharing/count"]["get"]["responses"]["200"]


def without_a_failure(description: dict[str, Any]) -> None:
    del description["paths"]["/v2/{project_id}/os-vendor-backup-sharing/count"]["get"]["responses"]["403"]


def without_a_member(description: dict[str, Any]) -> None:
    description["components"]["schemas"]["CountSharingsResponse"] |= {"properties": {}, "required": []}


def with_another_type(description: dict[str, Any]) -> None:
    members = description["components"]["schemas"]["CountSharingsResponse"]["properties"]
    members["count"] = {"type": "string"}


def without_a_member_of_failures(description: dict[str, Any]) -> None:
    del description["components"]["schemas"]["ErrorDescription"]["properties"]["reason"]


@pytest.mark.parametrize(
    "spoil", [without_success, without_a_failure, without_a_member, with_another_type, without_a_member_of_failures]
)
def test_a_description_that_is_not_true_is_found_out(
    world: World, description: dict[str, Any], session: requests.Session, spoil: Callable[[dict[str, Any]], None]
) -> None:
    spoiled = copy.deepcopy(description)
    spoil(spoiled)

    @BUDGET
    @given(case=likely(operation(spoiled, "CountSharings"), world))
    def make(case: Case) -> None:
        world.call(case, session)

    with pytest.raises((checks.Failure, checks.FailureGroup)):
        make()
