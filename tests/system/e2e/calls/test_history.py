"""The history over REST: what each project sees, pages by link, filters, and refusals."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from tests.support.rest import assert_failure, assert_success
from tests.support.system import ADMIN_TOKEN, SERVICE_TOKEN, Project, System
from tests.support.wire import Answer, Json

ENGINES = ["sqlite", "postgres"]
ACTED = {"by_project_id", "by_user_id", "request_id"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


async def ask(system: System, project: Project, query: str = "", token: str = "") -> Answer:
    target = f"{project.path}-events{query}"
    return await system.rest.call("GET", target, token=token or project.token)


async def events(system: System, project: Project, query: str = "") -> list[dict[str, str]]:
    found: list[dict[str, str]] = assert_success(await ask(system, project, query))["events"]
    return found


async def test_a_giver_sees_everything_and_who_did_it(
    system: System, giver: Project, recipient: Project, backup_id: str
) -> None:
    shared = await system.share(giver, backup_id, recipient.id)
    sharing_id = shared.json["shared"][0]["id"]
    await system.rest.call("DELETE", f"{giver.path}/{sharing_id}", token=giver.token)
    body = assert_success(await ask(system, giver))
    cancelled, given, put = body["events"]
    assert [each["kind"] for each in (cancelled, given, put)] == ["cancelled", "shared", "backup_put"]
    assert given["request_id"] == shared.headers["X-Openstack-Request-Id"]
    assert (given["by_project_id"], given["by_user_id"]) == (giver.id, "member")
    assert (given["sharing_id"], given["to_project_id"]) == (sharing_id, recipient.id)
    assert "sharing_id" not in put
    assert all(TIME.fullmatch(each["time"]) for each in body["events"])
    assert all(re.fullmatch(r"[0-9a-f]{16}:[1-9]\d*", each["cursor"]) for each in body["events"])
    # No other list at the top: the documented client merges every list that it meets.
    assert [name for name, value in body.items() if isinstance(value, list)] == ["events"]


async def test_a_recipient_sees_only_what_names_it(
    system: System, giver: Project, recipient: Project, backup_id: str
) -> None:
    other = system.new_project()
    await system.share(giver, backup_id, recipient.id, other.id)
    answer = await ask(system, recipient)
    (event,) = assert_success(answer)["events"]
    assert (event["kind"], event["from_project_id"], event["to_project_id"]) == ("shared", giver.id, recipient.id)
    assert not ACTED & event.keys()
    assert other.id not in answer.body.decode()


@pytest.mark.parametrize("token", [SERVICE_TOKEN, ADMIN_TOKEN])
async def test_service_and_admin_see_who_acted_for_a_giver(
    system: System, giver: Project, recipient: Project, backup_id: str, token: str
) -> None:
    await system.share(giver, backup_id, recipient.id)
    (event,) = assert_success(await ask(system, recipient, token=token))["events"]
    assert event.keys() >= ACTED


@pytest.mark.parametrize("sort_dir", ["asc", "desc"])
async def test_links_lead_through_all_pages(
    system: System, giver: Project, recipient: Project, backup_id: str, sort_dir: str
) -> None:
    await system.share(giver, backup_id, *(f"project-{number}" for number in range(6)), recipient.id)
    seen: list[Json] = []
    query = f"?backup_id={backup_id}&limit=3&sort_dir={sort_dir}"
    while query:
        body = assert_success(await ask(system, giver, query))
        seen += body["events"]
        links = body.get("shared_links", [])
        assert [link["rel"] for link in links] == ["next"] * len(links)
        query = f"?{urlsplit(links[0]['href']).query}" if links else ""
    assert len({each["cursor"] for each in seen}) == len(seen) == 8
    assert seen == (await events(system, giver, f"?sort_dir={sort_dir}"))


async def test_filters_select(system: System, giver: Project, recipient: Project, backup_id: str) -> None:
    other = system.new_project()
    await system.share(giver, backup_id, recipient.id, other.id)
    second = system.put_backup(giver)
    assert len(await events(system, giver)) == 4
    assert len(await events(system, giver, f"?backup_id={second}")) == 1
    assert len(await events(system, giver, f"?backup_id={backup_id.upper()}")) == 3
    (shared,) = await events(system, giver, f"?other_project_id={other.id}&kind=shared")
    assert await events(system, giver, f"?sharing_id={shared['sharing_id']}") == [shared]
    assert shared in await events(system, giver, f"?start_time={shared['time']}")
    assert shared not in await events(system, giver, f"?end_time={shared['time']}")
    assert await events(system, giver, "?end_time=2020-01-01T00:00:00%2B02:00") == []
    assert await events(system, giver, "?kind=&backup_id=&start_time=") == await events(system, giver)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("kind=gone", "kind"),
        ("start_time=yesterday", "start_time"),
        ("start_time=2020-01-01T00:00:00", "start_time"),
        ("end_time=0000-01-01T00:00:00Z", "end_time"),
        ("start_time=2021-01-01T00:00:00Z&end_time=2020-01-01T00:00:00Z", "end_time"),
        ("other_project_id=a%20b", "other_project_id"),
        ("sort_dir=up", "sort_dir"),
        ("limit=0", "limit"),
        ("offset=-1", "offset"),
        ("page_token=x", "page_token"),
        ("unknown=1", "unknown"),
        ("kind=shared&kind=shared", "kind"),
    ],
)
async def test_a_bad_parameter_is_400_and_named(system: System, idle: Project, query: str, said: str) -> None:
    assert_failure(await ask(system, idle, f"?{query}"), 400, "VolumeBackup.0002", said)


async def test_the_history_of_another_project_is_403(system: System, idle: Project, giver: Project) -> None:
    assert_failure(await ask(system, giver, token=idle.token), 403, "VolumeBackup.0042", "project")


async def test_the_history_without_a_token_is_401(system: System, idle: Project) -> None:
    assert_failure(await system.rest.call("GET", f"{idle.path}-events"), 401, "AutoBackup.0002", "X-Auth-Token")


async def test_the_history_cannot_be_written(system: System, idle: Project) -> None:
    answer = await system.rest.call("POST", f"{idle.path}-events", token=idle.token, body={})
    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]
