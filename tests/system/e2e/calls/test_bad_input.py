"""Invalid bodies, queries and headers: documented status, the member's name, and nothing stored."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.support.rest import Rest, assert_failure, assert_success
from tests.support.system import Project, System
from tests.support.wire import Answer

MALFORMED = "VolumeBackup.0002"
NO_SHARING = "8332443e-9866-41d8-8a58-a898cf5db030"


async def post(system: System, giver: Project, body: bytes, **headers: str) -> Answer:
    """POST a body with `BACKUP` replaced by a new backup's id; assert that nothing is stored; return the response."""
    backup_id = system.put_backup(giver)
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    sent = body.replace(b"BACKUP", backup_id.encode())
    answer = await system.rest.call("POST", giver.path, token=giver.token, body=sent, headers=named)
    assert system.rows(backup_id) == []
    assert await system.count(giver) == 0
    return answer


GOOD = b'{"shared": {"to_project_ids": ["recipient"], "backup_id": "BACKUP"}}'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b"  \n", "empty", id="blank"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, "byte order mark", id="a byte order mark"),
        pytest.param(GOOD.decode().encode("utf-16"), "UTF-8", id="UTF-16"),
        pytest.param(GOOD.replace(b"recipient", b"reci\xff"), "UTF-8", id="invalid UTF-8"),
        pytest.param(GOOD.replace(b"recipient", b"reci\xed\xa0\x80"), "UTF-8", id="an encoded surrogate"),
        pytest.param(GOOD.replace(b"recipient", b"reci\\ud800"), "surrogate", id="a lone surrogate"),
        pytest.param(GOOD + b"{}", "goes on", id="two values"),
        pytest.param(GOOD[:-1], "not JSON", id="cut off"),
        pytest.param(GOOD.replace(b'"', b"'"), "not JSON", id="single quotes"),
        pytest.param(GOOD.replace(b"recipient", b"reci\x00"), "not JSON", id="a raw NUL"),
        pytest.param(b"[" * 100_000, "levels deep", id="100 000 open brackets"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "levels deep", id="100 000 levels"),
        pytest.param(b"[" * 101 + b"]" * 101, "levels deep", id="101 levels"),
        pytest.param(b"null", "null", id="null"),
        pytest.param(b"[]", "an object", id="an array"),
        pytest.param(b'"shared"', "an object", id="a string"),
        pytest.param(b"{}", "shared", id="an empty object"),
        pytest.param(b'{"shared": null}', "shared", id="a null member"),
        pytest.param(b'{"shared": []}', "shared: expected an object", id="an array for an object"),
        pytest.param(b'{"shared": {"backup_id": "BACKUP"}}', "shared.to_project_ids", id="no recipients"),
        pytest.param(GOOD.replace(b'["recipient"]', b"[]"), "shared.to_project_ids", id="empty recipients"),
        pytest.param(GOOD.replace(b'["recipient"]', b'"recipient"'), "shared.to_project_ids", id="a string for a list"),
        pytest.param(GOOD.replace(b'"recipient"', b"5"), "shared.to_project_ids[0]", id="a number for a string"),
        pytest.param(GOOD.replace(b'"recipient"', b'"a", null'), "shared.to_project_ids[1]", id="null in a list"),
        pytest.param(GOOD.replace(b'"BACKUP"', b"5"), "shared.backup_id", id="a number for an id"),
        pytest.param(GOOD.replace(b'"BACKUP"', b"9" * 4000), "shared.backup_id", id="a huge integer"),
        pytest.param(GOOD.replace(b'"BACKUP"', b"9" * 5000), "digits", id="an integer too huge to read"),
        pytest.param(GOOD.replace(b'"BACKUP"', b"1e999999999999999999999"), "exponent", id="a huge exponent"),
        pytest.param(GOOD.replace(b'"BACKUP"', b"NaN"), "NaN", id="NaN"),
        pytest.param(GOOD.replace(b'"BACKUP"', b"-Infinity"), "-Infinity", id="Infinity"),
        pytest.param(GOOD.replace(b'"BACKUP"', b"true"), "shared.backup_id", id="a boolean for an id"),
        pytest.param(GOOD.replace(b"recipient", b"reci\\u0000"), "shared.to_project_ids[0]", id="an escaped NUL"),
        pytest.param(GOOD.replace(b"recipient", b"\xc3\xa4"), "shared.to_project_ids[0]", id="not ASCII"),
        pytest.param(GOOD.replace(b"recipient", b"x" * 65), "shared.to_project_ids[0]", id="65 characters"),
        pytest.param(GOOD.replace(b"recipient", b"a\\nb"), "shared.to_project_ids[0]", id="a line break"),
        pytest.param(GOOD.replace(b"recipient", b"a', 'b"), "shared.to_project_ids[0]", id="quotes"),
        pytest.param(GOOD.replace(b'"recipient"', b'"a", "a"'), "shared.to_project_ids[1]", id="the same twice"),
        pytest.param(
            GOOD.replace(b'"recipient"', b", ".join(b'"p%d"' % n for n in range(1001))), "shared.to_project_ids",
            id="1001 recipients",
        ),
        pytest.param(GOOD.replace(b"}}", b'}, "shared": {}}'), "shared: is given more than once", id="a key twice"),
        pytest.param(
            GOOD.replace(b"}}", b', "backup_id": "BACKUP"}}'), "shared.backup_id: is given more than once",
            id="an inner key twice",
        ),
        pytest.param(GOOD.replace(b"}}", b'}, "extra": 1}'), "extra", id="an unknown member"),
        pytest.param(GOOD.replace(b"}}", b', "backup_ids": 1}}'), "shared.backup_ids", id="an unknown inner member"),
        pytest.param(GOOD.replace(b"backup_id", b"backupId"), "shared.backupId", id="a camel case name"),
        pytest.param(GOOD.replace(b"}}", b'}, "project_id": "p"}'), "project_id", id="a member of the path"),
        pytest.param(GOOD.replace(b"}}", b'}, "idempotency_key": "k"}'), "idempotency_key", id="a member of a header"),
        pytest.param(GOOD.replace(b"}}", b'}, "conflict_policy": 2}'), "conflict_policy", id="a member of gRPC only"),
    ],
)  # fmt: skip
async def test_a_bad_body_is_400_and_names_the_member(system: System, giver: Project, body: bytes, said: str) -> None:
    assert_failure(await post(system, giver, body), 400, MALFORMED, said)


async def test_the_giver_itself_is_no_recipient(system: System, giver: Project) -> None:
    answer = await post(system, giver, GOOD.replace(b"recipient", giver.id.encode()))
    assert_failure(answer, 400, MALFORMED, "shared.to_project_ids[0]", "giver")


async def test_no_body_at_all_is_400(system: System, giver: Project) -> None:
    assert_failure(await system.rest.call("POST", giver.path, token=giver.token), 400, MALFORMED, "empty")


async def test_a_body_of_five_megabytes_is_400_and_is_answered(system: System, giver: Project) -> None:
    padded = GOOD + b" " * (5 << 20)
    assert_failure(await post(system, giver, padded), 400, MALFORMED, str(1 << 20))


async def test_a_body_of_almost_a_megabyte_is_read(system: System, giver: Project) -> None:
    body = GOOD + b" " * ((1 << 20) - 200)
    backup_id = system.put_backup(giver)
    sent = body.replace(b"BACKUP", backup_id.encode())
    assert_success(await system.rest.call("POST", giver.path, token=giver.token, body=sent))


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/xml", "application/json; charset=latin-1", "application/jsonp", "json", ""],
)
async def test_a_wrong_content_type_is_400(system: System, giver: Project, content_type: str) -> None:
    assert_failure(await post(system, giver, GOOD, Content_Type=content_type), 400, MALFORMED, "Content-Type")


@pytest.mark.parametrize("content_type", ["Application/JSON", "application/json; charset=UTF-8", "application/json;"])
async def test_json_by_any_spelling_of_its_content_type_is_taken(
    system: System, giver: Project, backup_id: str, content_type: str
) -> None:
    assert_success(await system.share(giver, backup_id, "recipient", Content_Type=content_type))


async def test_a_compressed_body_is_400(system: System, giver: Project) -> None:
    answer = await post(system, giver, gzip.compress(GOOD), Content_Encoding="gzip")
    assert_failure(answer, 400, MALFORMED, "Content-Encoding", "gzip")


async def test_an_expectation_that_cannot_be_met_is_400(system: System, giver: Project) -> None:
    assert_failure(await post(system, giver, GOOD, Expect="a-miracle"), 400, MALFORMED, "Expect")


async def test_a_query_beside_a_body_is_400(system: System, giver: Project, backup_id: str) -> None:
    body = {"shared": {"to_project_ids": ["recipient"], "backup_id": backup_id}}
    answer = await system.rest.call("POST", f"{giver.path}?dry_run=true", token=giver.token, body=body)
    assert_failure(answer, 400, MALFORMED, "dry_run")
    assert system.rows(backup_id) == []


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_body_where_none_is_expected_is_400(rest: Rest, idle: Project, method: str) -> None:
    answer = await rest.call(method, f"{idle.path}/{NO_SHARING}", token=idle.token, body="{}")
    assert_failure(answer, 400, MALFORMED, "body")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=abc", "limit"),
        ("limit=1.5", "limit"),
        ("limit=%31%30%20x", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%2010", "limit"),
        ("limit=%D9%A3", "limit"),
        ("offset=-1", "offset"),
        ("offset=2147483648", "offset"),
        ("offset=x", "offset"),
        ("share_to_me=True", "share_to_me"),
        ("share_to_me=1", "share_to_me"),
        ("share_to_me=yes", "share_to_me"),
        ("sort_key=password", "sort_key"),
        ("sort_key=created_at%3BDROP", "sort_key"),
        ("sort_dir=up", "sort_dir"),
        ("sort_dir=DESC", "sort_dir"),
        ("from_project_id=a%20b", "from_project_id"),
        ("to_project_id=" + "x" * 65, "to_project_id"),
        ("volume_id=" + "x" * 65, "volume_id"),
        ("name=" + "x" * 256, "name"),
        ("name=%00", "name"),
        ("name=%ff", "name"),
        ("name=%ed%a0%80", "name"),
        ("name=%zz", "name"),
        ("name=%", "name"),
        ("status=%00", "status"),
        ("limit=1&limit=2", "limit"),
        ("limit=1&limit=1", "limit"),
        ("name=a&name=", "name"),
        ("availability_zone=a&avalilability_zone=b", "avalilability_zone"),
        ("color=red", "color"),
        ("limt=1", "did you mean \"limit\""),
        ("Limit=1", "Limit"),
        ("project_id=p", "project_id"),
        ("page_token=x", "page_token"),
        ("shareToMe=true", "shareToMe"),
        ("__proto__=1", "__proto__"),
    ],
)  # fmt: skip
async def test_a_bad_query_is_400_and_names_the_parameter(rest: Rest, idle: Project, query: str, said: str) -> None:
    answer = await rest.call("GET", f"{idle.path}/detail?{query}", token=idle.token)
    assert_failure(answer, 400, MALFORMED, said)
    assert len(answer.body) < 4096


async def test_a_malformed_backup_id_in_a_query_has_its_own_code(rest: Rest, idle: Project) -> None:
    for call in ("detail", "count"):
        answer = await rest.call("GET", f"{idle.path}/{call}?backup_id=abc", token=idle.token)
        assert_failure(answer, 400, "VolumeBackup.0204", "backup_id", "'abc'")


@pytest.mark.parametrize("name", ["limit", "offset", "sort_key", "sort_dir"])
async def test_count_does_not_know_what_only_a_list_has(rest: Rest, idle: Project, name: str) -> None:
    answer = await rest.call("GET", f"{idle.path}/count?{name}=1", token=idle.token)
    assert_failure(answer, 400, MALFORMED, name)


async def test_get_takes_no_parameters(rest: Rest, idle: Project) -> None:
    answer = await rest.call("GET", f"{idle.path}/{NO_SHARING}?verbose=true", token=idle.token)
    assert_failure(answer, 400, MALFORMED, "verbose")


async def test_everything_wrong_with_a_query_is_said_at_once(rest: Rest, idle: Project) -> None:
    answer = await rest.call("GET", f"{idle.path}/detail?limit=x&share_to_me=1&color=red", token=idle.token)
    assert {detail["field"] for detail in answer.error["details"]} == {"limit", "share_to_me", "color"}


@pytest.mark.parametrize("query", ["is_backup_id=yes", "is_backup_id=true&is_backup_id=true", "force=true"])
async def test_a_bad_query_of_a_cancel_is_400_and_cancels_nothing(
    system: System, giver: Project, backup_id: str, query: str
) -> None:
    assert_success(await system.share(giver, backup_id, "recipient"))
    answer = await system.rest.call("DELETE", f"{giver.path}/{backup_id}?{query}", token=giver.token)
    assert_failure(answer, 400, MALFORMED, query.partition("=")[0])
    assert await system.count(giver) == 1


async def test_false_means_that_the_id_is_a_sharings(system: System, giver: Project, backup_id: str) -> None:
    assert_success(await system.share(giver, backup_id, "recipient"))
    target = f"{giver.path}/{backup_id}?is_backup_id=false"
    assert_failure(await system.rest.call("DELETE", target, token=giver.token), 404, "VolumeBackup.0043")


@pytest.mark.parametrize(
    "end",
    ["%2F", "a%2Fb", "..%2f..%2fetc", f"{NO_SHARING}%2F", f"{NO_SHARING}%00", f"{NO_SHARING}%0d%0aX-Injected:%20yes",
     f"%20{NO_SHARING}", f"{{{NO_SHARING}}}", NO_SHARING.replace("-", ""), f"{NO_SHARING[:-1]}%C3%A9", "%F0%9F%92%BE"],
)  # fmt: skip
async def test_an_id_that_is_no_uuid_is_400_however_it_is_encoded(rest: Rest, idle: Project, end: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await rest.call(method, f"{idle.path}/{end}", token=idle.token)
        assert_failure(answer, 400, "BackupSharing.0001", "parameter id")
        assert "X-Injected" not in answer.headers


@pytest.mark.parametrize("end", ["%", "%zz", "%ff", "%ed%a0%80"])
async def test_an_id_whose_encoding_is_broken_is_400(rest: Rest, idle: Project, end: str) -> None:
    assert_failure(await rest.call("GET", f"{idle.path}/{end}", token=idle.token), 400, MALFORMED, "id")


async def test_an_encoded_id_means_the_same_as_a_plain_one(system: System, giver: Project, backup_id: str) -> None:
    sharing_id = assert_success(await system.share(giver, backup_id, "recipient"))["shared"][0]["id"]
    encoded = "".join(f"%{ord(character):02x}" for character in sharing_id)
    answer = await system.rest.call("GET", f"{giver.path}/{encoded}", token=giver.token)
    assert assert_success(answer)["shared"]["id"] == sharing_id


async def test_a_project_id_with_a_slash_in_it_is_no_other_path(rest: Rest, idle: Project) -> None:
    answer = await rest.call("GET", f"/v2/{idle.id}%2F../os-vendor-backup-sharing/count", token=idle.token)
    assert_failure(answer, 403, "VolumeBackup.0042")


async def test_messages_quote_long_values_shortened(system: System, giver: Project) -> None:
    answer = await post(system, giver, json.dumps({"shared": {"backup_id": "x" * 100_000}}).encode())
    assert_failure(answer, 400, "VolumeBackup.0204", "xxx...")
    assert len(answer.body) < 2048
