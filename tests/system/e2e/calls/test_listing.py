"""List and count: filters, order, pages and their links."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from tests.support.ports import free_address
from tests.support.programs import Programs
from tests.support.rest import Rest, assert_failure, assert_success
from tests.support.system import Project, System
from tests.support.wire import Answer, Json

ENGINES = ("sqlite", "postgres")

NAMES = ("100%", "100 percent", "a_b", "aXb", "Straße", "STRASSE", "İstanbul", "zeta")
SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")


def names(answer: Answer) -> list[str | None]:
    return [item["backup"]["name"] for item in assert_success(answer)["shared"]]


def ids(body: Json) -> list[str]:
    return [item["id"] for item in body["shared"]]


@pytest.fixture
def named(system: System, giver: Project) -> Sequence[str]:
    """Create the giver's backups with the names above, not shared; return their ids."""
    return [system.put_backup(giver, name=name) for name in NAMES]


async def share_all(
    system: System, giver: Project, backup_ids: Sequence[str], recipient: str = "recipient"
) -> list[str]:
    """Share the backups one after the other; return the sharing ids in that order."""
    bodies = [assert_success(await system.share(giver, backup_id, recipient)) for backup_id in backup_ids]
    return [ids(body)[0] for body in bodies]


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("%", {"100%"}),
        ("_", {"a_b"}),
        ("100", {"100%", "100 percent"}),
        ("A_B", {"a_b"}),
        ("ß", {"Straße", "STRASSE"}),
        ("strasse", {"Straße", "STRASSE"}),
        ("TRASS", {"Straße", "STRASSE"}),
        ("ISTANBUL", set()),
        ("İST", {"İstanbul"}),
        ("zeta", {"zeta"}),
        ("zetas", set()),
        ("'", set()),
        ("\\", set()),
        ("", set(NAMES)),
    ],
)
async def test_name_finds_any_part_in_any_case_without_wildcards(
    system: System, giver: Project, named: Sequence[str], part: str, found: set[str]
) -> None:
    await share_all(system, giver, named)
    query = f"name={quote(part, safe='')}"
    assert set(names(await system.list(giver, query))) == found
    assert await system.count(giver, query) == len(found)


async def test_each_filter_finds_its_value_and_count_counts_it(system: System, giver: Project) -> None:
    one = system.put_backup(giver, volume_id="volume-1", availability_zone="AZ 1")
    two = system.put_backup(giver, volume_id="volume-2", availability_zone="AZ 2")
    await share_all(system, giver, [one, two], "first")
    await share_all(system, giver, [one], "second")
    system.put_backup(giver, id=two, volume_id="volume-2", availability_zone="AZ 2", status="error")
    expected = {
        "volume_id=volume-1": 2,
        "volume_id=volume-3": 0,
        "status=error": 1,
        "status=available": 2,
        f"backup_id={two.upper()}": 1,
        f"from_project_id={giver.id}": 3,
        "from_project_id=somebody": 0,
        "to_project_id=first": 2,
        "availability_zone=AZ%202": 1,
        "avalilability_zone=AZ+2": 1,
        "availability_zone=AZ+2&avalilability_zone=AZ%202": 1,
        "to_project_id=first&volume_id=volume-1": 1,
        "volume_id=&name=&status=&backup_id=&availability_zone=": 3,
        "share_to_me=": 3,
        "share_to_me=false": 3,
        "share_to_me=true": 0,
    }
    counted = {query: await system.count(giver, query) for query in expected}
    listed = {query: len(assert_success(await system.list(giver, query))["shared"]) for query in expected}
    assert counted == expected
    assert listed == expected


async def test_the_recipient_lists_what_it_got_the_giver_what_it_gave(
    system: System, giver: Project, recipient: Project, backup_id: str
) -> None:
    (sharing_id,) = await share_all(system, giver, [backup_id], recipient.id)
    assert ids(assert_success(await system.list(recipient, "share_to_me=true"))) == [sharing_id]
    assert ids(assert_success(await system.list(giver))) == [sharing_id]
    for project, query in ((recipient, ""), (giver, "share_to_me=true")):
        assert assert_success(await system.list(project, query)) == {"shared": []}


async def test_a_list_by_backup_has_nothing_that_others_gave(
    system: System, giver: Project, recipient: Project, backup_id: str
) -> None:
    await share_all(system, giver, [backup_id], recipient.id)
    assert assert_success(await system.list(recipient, f"backup_id={backup_id}")) == {"shared": []}


async def test_the_newest_comes_first_unless_asked_otherwise(
    system: System, giver: Project, named: Sequence[str]
) -> None:
    shared = await share_all(system, giver, named)
    assert ids(assert_success(await system.list(giver))) == shared[::-1]
    assert ids(assert_success(await system.list(giver, "sort_dir=asc"))) == shared
    assert ids(assert_success(await system.list(giver, "sort_key=&sort_dir=&limit=&offset="))) == shared[::-1]


async def test_names_sort_by_code_point_with_nulls_last_both_ways(
    system: System, giver: Project, named: Sequence[str]
) -> None:
    await share_all(system, giver, [*named, system.put_backup(giver)])
    assert names(await system.list(giver, "sort_key=name&sort_dir=asc")) == [*sorted(NAMES), None]
    assert names(await system.list(giver, "sort_key=name&sort_dir=desc")) == [*sorted(NAMES, reverse=True), None]


async def test_sizes_sort_as_numbers_and_ties_by_id_in_that_direction(system: System, giver: Project) -> None:
    backups = [system.put_backup(giver, size=size) for size in (10, 9, 10, 100)]
    first, second, third, fourth = await share_all(system, giver, backups)
    low, high = sorted((first, third))
    assert ids(assert_success(await system.list(giver, "sort_key=size&sort_dir=asc"))) == [second, low, high, fourth]
    assert ids(assert_success(await system.list(giver, "sort_key=size&sort_dir=desc"))) == [fourth, high, low, second]


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("key", SORT_KEYS)
async def test_pages_of_every_order_have_no_gaps_or_repeats(
    system: System, giver: Project, key: str, direction: str
) -> None:
    backup_id = system.put_backup(giver, name="same")
    await system.share(giver, backup_id, *(f"recipient-{number}" for number in range(7)))
    query = f"sort_key={key}&sort_dir={direction}"
    whole = ids(assert_success(await system.list(giver, query)))
    paged = [
        ids(assert_success(await system.list(giver, f"{query}&limit=2&offset={start}"))) for start in range(0, 9, 2)
    ]
    assert [page for pages in paged for page in pages] == whole
    assert len(set(whole)) == 7


async def test_links_lead_through_all_pages_with_all_parameters(
    system: System, giver: Project, named: Sequence[str]
) -> None:
    await share_all(system, giver, named)
    asked = f"sort_dir=asc&from_project_id={giver.id}&limit=3&name=&status=av%61ilable&to_project_id=recipient"
    seen, query, offsets = [], asked, []
    while True:
        body = assert_success(await system.list(giver, query))
        seen += ids(body)
        if "shared_links" not in body:
            break
        (link,) = body["shared_links"]
        assert list(link) == ["rel", "href"]
        assert link["rel"] == "next"
        parts = urlsplit(link["href"])
        assert (parts.scheme, parts.netloc, parts.path) == ("http", system.rest.address, f"{giver.path}/detail")
        query = parts.query
        given = dict(parse_qsl(query, keep_blank_values=True))
        offsets.append(given.pop("offset"))
        assert given == dict(parse_qsl(asked, keep_blank_values=True))
    assert offsets == ["3", "6"]
    assert seen == ids(assert_success(await system.list(giver, "sort_dir=asc")))


async def test_the_last_page_has_no_link_even_if_it_is_full(
    system: System, giver: Project, named: Sequence[str]
) -> None:
    await share_all(system, giver, named)
    for query in ("limit=8", "limit=4&offset=4", "limit=2147483647", "offset=2147483647"):
        assert list(assert_success(await system.list(giver, query))) == ["shared"]


async def test_a_page_has_a_thousand_at_most_and_by_default(system: System, giver: Project) -> None:
    for _ in range(2):
        backup_id = system.put_backup(giver)
        recipients = [f"recipient-{number}" for number in range(600)]
        assert_success(await system.share(giver, backup_id, *recipients))
    for query in ("", "limit=1000", "limit=1001", "limit=2147483648", "limit=" + "9" * 100):
        body = assert_success(await system.list(giver, query))
        assert len(body["shared"]) == 1000
        assert "offset=1000" in body["shared_links"][0]["href"]
    assert await system.count(giver) == 1200


async def test_pages_of_large_items_are_short_and_lead_on(system: System, giver: Project) -> None:
    shared = await share_all(
        system, giver, [system.put_backup(giver, service_metadata="m" * 65_536) for _ in range(20)]
    )
    first = assert_success(await system.list(giver, "sort_dir=asc&limit=100"))
    assert ids(first) == shared[:15]
    (link,) = first["shared_links"]
    query = urlsplit(link["href"]).query
    assert query == "sort_dir=asc&limit=100&offset=15"
    rest = assert_success(await system.list(giver, query))
    assert list(rest) == ["shared"]
    assert ids(rest) == shared[15:]


async def link(rest: Rest, giver: Project, **headers: str) -> str:
    """List with limit 1; return scheme and host of the link to the next page."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    answer = await rest.call("GET", f"{giver.path}/detail?limit=1", token=giver.token, headers=named)
    href = urlsplit(assert_success(answer)["shared_links"][0]["href"])
    assert (href.path, href.query) == (f"{giver.path}/detail", "limit=1&offset=1")
    return f"{href.scheme}://{href.netloc}"


@pytest.fixture
async def two_shared(system: System, giver: Project, backup_id: str) -> Project:
    """Giver with two sharings."""
    assert_success(await system.share(giver, backup_id, "one", "another"))
    return giver


FORWARDED = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "vbs.example.com"}


async def test_links_go_to_the_host_that_was_asked(rest: Rest, two_shared: Project) -> None:
    assert await link(rest, two_shared, Host="vbs.local:9090") == "http://vbs.local:9090"


async def test_forwarded_headers_of_anybody_are_ignored(rest: Rest, two_shared: Project) -> None:
    assert await link(rest, two_shared, **FORWARDED) == f"http://{rest.address}"


@pytest.mark.parametrize("host", ["", "evil.example/path?", "a b", '"><script>', "user@evil.example", "h:99999999"])
async def test_a_host_that_is_none_does_not_get_into_a_link(rest: Rest, two_shared: Project, host: str) -> None:
    request = (
        f"GET {two_shared.path}/detail?limit=1 HTTP/1.1\r\nHost: {host}\r\nX-Auth-Token: {two_shared.token}\r\n\r\n"
    )
    assert_failure(await rest.exchange(request.encode()), 400, "VolumeBackup.0002", "Host")


async def test_without_a_host_links_go_where_the_gateway_listens(rest: Rest, two_shared: Project) -> None:
    request = f"GET {two_shared.path}/detail?limit=1 HTTP/1.0\r\nX-Auth-Token: {two_shared.token}\r\n\r\n"
    body = assert_success(await rest.exchange(request.encode()))
    assert body["shared_links"][0]["href"].startswith(f"http://{rest.address}/v2/")


@pytest.fixture(scope="session")
def proxied_rest(system: System, session_programs: Programs) -> Rest:
    """Gateway that trusts proxies on this machine."""
    rest = Rest(free_address())
    session_programs.gateway(rest.address, system.grpc_address, "--trusted-proxy", "10.0.0.0/8,127.0.0.0/8")
    return rest


async def test_forwarded_headers_of_a_trusted_proxy_are_used(proxied_rest: Rest, two_shared: Project) -> None:
    assert await link(proxied_rest, two_shared, **FORWARDED) == "https://vbs.example.com"


async def test_the_first_of_several_forwarded_values_is_the_clients(proxied_rest: Rest, two_shared: Project) -> None:
    several = {"X_Forwarded_Proto": "https, http", "X_Forwarded_Host": "vbs.example.com, inner"}
    assert await link(proxied_rest, two_shared, **several) == "https://vbs.example.com"


async def test_forwarded_values_that_are_none_are_passed_over(proxied_rest: Rest, two_shared: Project) -> None:
    odd = {"X_Forwarded_Proto": "javascript", "X_Forwarded_Host": "evil/path"}
    assert await link(proxied_rest, two_shared, **odd) == f"http://{proxied_rest.address}"


async def test_links_begin_with_the_public_url_for_any_request(
    system: System, programs: Programs, two_shared: Project
) -> None:
    rest = Rest(free_address())
    programs.gateway(
        rest.address, system.grpc_address, "--public-url", "https://vbs.example.com", "--trusted-proxy", "127.0.0.1"
    )
    forwarded = {"X_Forwarded_Proto": "http", "X_Forwarded_Host": "other.example"}
    assert await link(rest, two_shared, **forwarded) == "https://vbs.example.com"
