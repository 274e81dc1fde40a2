"""Statuses of the contract's table that the two programs produce by themselves, each in a real situation.

Statuses that need a special server behind the gateway are in `test_upstream_failures`.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.support.ports import free_address
from tests.support.programs import Programs
from tests.support.rest import Rest, assert_failure, assert_success
from tests.support.system import EXPIRED_TOKEN, SERVICE_TOKEN, Project, System
from tests.support.wire import read_answer

UNKNOWN_ID = "00000000-0000-4000-8000-00000000dead"


def body(backup_id: object, *recipients: object) -> dict[str, object]:
    return {"shared": {"to_project_ids": list(recipients) or ["recipient"], "backup_id": backup_id}}


async def test_400_for_a_body_that_is_not_json(rest: Rest, idle: Project) -> None:
    answer = await rest.call("POST", idle.path, token=idle.token, body="shared: no")
    assert_failure(answer, 400, "VolumeBackup.0002", "not JSON")


async def test_400_for_a_body_that_is_not_json_even_without_a_token(rest: Rest, idle: Project) -> None:
    assert_failure(await rest.call("POST", idle.path, body="shared: no"), 400, "VolumeBackup.0002")


@pytest.mark.parametrize(
    ("backup_id", "code"), [("", "VolumeBackup.0203"), (None, "VolumeBackup.0203"), ("abc", "VolumeBackup.0204")]
)
async def test_400_has_the_documented_code_for_a_bad_backup_id(
    rest: Rest, giver: Project, backup_id: str | None, code: str
) -> None:
    answer = await rest.call("POST", giver.path, token=giver.token, body=body(backup_id))
    assert_failure(answer, 400, code, "backup_id")


async def test_400_for_a_malformed_backup_id_quotes_the_contract(rest: Rest, idle: Project) -> None:
    answer = await rest.call("POST", idle.path, token=idle.token, body=body("abc"))
    expected = "The format of parameter backup_id in the request is incorrect: 'abc' is not a UUID."
    assert answer.error["message"] == expected


async def test_400_names_all_values_at_once(rest: Rest, idle: Project) -> None:
    answer = await rest.call("POST", idle.path, token=idle.token, body=body("abc", "a b", idle.id, "x", "x"))
    assert [detail["field"] for detail in answer.error["details"]] == [
        "shared.backup_id",
        "shared.to_project_ids[0]",
        "shared.to_project_ids[1]",
        "shared.to_project_ids[3]",
    ]


async def test_400_for_a_malformed_sharing_id(rest: Rest, idle: Project) -> None:
    for method in ("GET", "DELETE"):
        answer = await rest.call(method, f"{idle.path}/abc", token=idle.token)
        assert_failure(answer, 400, "BackupSharing.0001", "'abc'")


async def test_400_for_a_malformed_backup_id_in_the_path(rest: Rest, idle: Project) -> None:
    answer = await rest.call("DELETE", f"{idle.path}/abc?is_backup_id=true", token=idle.token)
    assert_failure(answer, 400, "VolumeBackup.0204", "'abc'")


async def test_400_for_a_backup_that_is_not_available(system: System, giver: Project) -> None:
    backup_id = system.put_backup(giver, status="creating")
    answer = await system.share(giver, backup_id, "recipient")
    assert_failure(answer, 400, "VolumeBackup.0089", backup_id, "'creating'")


async def test_401_without_a_token(rest: Rest, idle: Project) -> None:
    answer = await rest.call("GET", f"{idle.path}/count")
    assert_failure(answer, 401, "AutoBackup.0002")
    assert answer.headers["WWW-Authenticate"] == 'Token realm="backup-sharing"'


@pytest.mark.parametrize("token", ["nobody-has-this", EXPIRED_TOKEN, "x" * 9000, "x" * 15000])
async def test_401_for_a_token_that_is_unknown_or_expired(system: System, token: str) -> None:
    answer = await system.rest.call("GET", f"{system.documented_giver.path}/count", token=token)
    assert_failure(answer, 401, "AutoBackup.0003")
    assert answer.headers["WWW-Authenticate"] == 'Token realm="backup-sharing"'
    assert token not in answer.body.decode()


async def test_403_for_a_token_of_another_project(rest: Rest, idle: Project, recipient: Project) -> None:
    answer = await rest.call("GET", f"{idle.path}/count", token=recipient.token)
    assert_failure(answer, 403, "VolumeBackup.0042", "project")


async def test_403_for_a_role_that_allows_nothing_here(rest: Rest, idle: Project) -> None:
    assert_failure(await rest.call("GET", f"{idle.path}/count", token=SERVICE_TOKEN), 403, "VolumeBackup.0042")


async def test_403_comes_before_400_for_values(rest: Rest, idle: Project, recipient: Project) -> None:
    answer = await rest.call("POST", idle.path, token=recipient.token, body=body("abc"))
    assert_failure(answer, 403, "VolumeBackup.0042")


async def test_403_beyond_the_quota_stores_nothing_and_names_the_limit(tmp_path_factory: pytest.TempPathFactory,
                                                                      programs: Programs) -> None:  # fmt: skip
    system = System(tmp_path_factory.mktemp("quota"), programs, 1, "--max-active-sharings", "3")
    giver = system.new_project()
    backup_id = system.put_backup(giver)
    assert_success(await system.share(giver, backup_id, "one", "two"))
    answer = await system.share(giver, backup_id, "three", "four")
    assert_failure(answer, 403, "BackupSharing.0004", backup_id, "3")
    racing = await asyncio.gather(*(system.share(giver, backup_id, f"racing-{number}") for number in range(8)))
    assert sorted(answer.status for answer in racing) == [200, *[403] * 7]
    assert len(system.rows(backup_id)) == 3
    system.close()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2",
        "/v2/p/os-vendor-backup-sharing/",
        "//v2/p/os-vendor-backup-sharing",
        "/v2/p/os-vendor-backup-sharing/detail/",
        "/v2/p/os-vendor-backup-sharing/a/b",
        "/v3/p/os-vendor-backup-sharing/detail",
        "/v2/p%2Fos-vendor-backup-sharing",
        "/favicon.ico",
        "/../../etc/passwd",
    ],
)
async def test_404_for_a_path_that_is_not_there(rest: Rest, path: str) -> None:
    assert_failure(await rest.call("GET", path), 404, "BackupSharing.0404")


async def test_404_for_an_unknown_backup(system: System, giver: Project) -> None:
    answer = await system.share(giver, UNKNOWN_ID, "recipient")
    assert_failure(answer, 404, "VolumeBackup.0110", UNKNOWN_ID)
    answer = await system.rest.call("DELETE", f"{giver.path}/{UNKNOWN_ID}?is_backup_id=true", token=giver.token)
    assert_failure(answer, 404, "VolumeBackup.0110", UNKNOWN_ID)


async def test_404_for_an_unknown_sharing(rest: Rest, idle: Project) -> None:
    for method in ("GET", "DELETE"):
        answer = await rest.call(method, f"{idle.path}/{UNKNOWN_ID}", token=idle.token)
        assert_failure(answer, 404, "VolumeBackup.0043", UNKNOWN_ID)


@pytest.mark.parametrize(
    ("method", "end", "allowed"),
    [
        ("GET", "", {"POST", "OPTIONS"}),
        ("PUT", "", {"POST", "OPTIONS"}),
        ("POST", f"/{UNKNOWN_ID}", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("PATCH", f"/{UNKNOWN_ID}", {"GET", "HEAD", "DELETE", "OPTIONS"}),
    ],
)
async def test_405_says_what_is_allowed(rest: Rest, idle: Project, method: str, end: str, allowed: set[str]) -> None:
    answer = await rest.call(method, f"{idle.path}{end}", headers={"Accept": "text/html"})
    assert_failure(answer, 405, "BackupSharing.0405")
    assert set(answer.headers["Allow"].split(", ")) == allowed


async def test_a_path_that_is_not_there_is_404_whatever_the_method(rest: Rest) -> None:
    for method in ("POST", "DELETE", "OPTIONS", "PROPFIND"):
        assert_failure(await rest.call(method, "/v2/nothing"), 404, "BackupSharing.0404")


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "text/*, */*;q=0", "application/xml, image/*"])
async def test_406_when_json_is_ruled_out_and_nothing_is_stored(
    system: System, giver: Project, backup_id: str, accept: str
) -> None:
    answer = await system.share(giver, backup_id, "recipient", Accept=accept)
    assert_failure(answer, 406, "BackupSharing.0406", accept)
    assert system.rows(backup_id) == []


@pytest.mark.parametrize("accept", ["*/*", "application/*;q=0.1, text/html", "text/html, application/json;q=0.5", ""])
async def test_no_406_when_json_is_acceptable(rest: Rest, idle: Project, accept: str) -> None:
    answer = await rest.call("GET", f"{idle.path}/count", token=idle.token, headers={"Accept": accept})
    assert_success(answer)


async def test_406_comes_before_400(rest: Rest, idle: Project) -> None:
    answer = await rest.call("POST", idle.path, body="nonsense", headers={"Accept": "text/html"})
    assert_failure(answer, 406, "BackupSharing.0406")


@pytest.fixture(scope="session")
def impatient_rest(system: System, session_programs: Programs) -> Rest:
    """Gateway with a body timeout of 0.2 seconds."""
    rest = Rest(free_address())
    session_programs.gateway(rest.address, system.grpc_address, "--body-timeout", "0.2")
    return rest


@pytest.mark.parametrize(
    "framing", ["Content-Length: 200\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n10\r\n"], ids=["length", "chunked"]
)
async def test_408_for_a_body_that_is_half_sent(
    system: System, impatient_rest: Rest, giver: Project, backup_id: str, framing: str
) -> None:
    head = f"POST {giver.path} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {giver.token}\r\n"
    sent = f'{head}Content-Type: application/json\r\n{framing}{{"shared": {{'
    answer = await impatient_rest.exchange(sent.encode())
    assert_failure(answer, 408, "BackupSharing.0408", "0.2 seconds")
    assert system.rows(backup_id) == []


async def test_a_client_that_hangs_up_halfway_leaves_nothing_behind(
    system: System, giver: Project, backup_id: str
) -> None:
    _, writer = await system.rest.connect()
    writer.write(f'POST {giver.path} HTTP/1.1\r\nHost: h\r\nContent-Length: 200\r\n\r\n{{"shared"'.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert_success(await system.list(giver))
    assert system.rows(backup_id) == []


async def test_409_names_the_projects_and_stores_nothing_for_others(
    system: System, giver: Project, backup_id: str
) -> None:
    assert_success(await system.share(giver, backup_id, "first", "second"))
    answer = await system.share(giver, backup_id, "third", "second", "first")
    assert_failure(answer, 409, "BackupSharing.0002", backup_id, "second, first")
    assert "third" not in answer.error["message"]
    assert len(system.rows(backup_id)) == 2


@pytest.mark.resilience
async def test_503_while_the_store_is_locked_stores_nothing(tmp_path_factory: pytest.TempPathFactory,
                                                            programs: Programs) -> None:  # fmt: skip
    system = System(tmp_path_factory.mktemp("locked"), programs, 1, "--busy-timeout", "0.1")
    giver = system.new_project()
    backup_id = system.put_backup(giver)
    with system.locked():
        answer = await system.share(giver, backup_id, "recipient")
    assert_failure(answer, 503, "VolumeBackup.0900")
    assert int(answer.headers["Retry-After"]) >= 1
    assert_success(await system.share(giver, backup_id, "recipient"))
    system.close()


async def test_504_close_to_the_deadline_and_a_blind_retry_succeeds(
    system: System, giver: Project, backup_id: str
) -> None:
    # For so short a timeout, the server begins no commit in the last quarter.
    with system.locked():
        answer = await system.share(giver, backup_id, "recipient", Grpc_Timeout="200m")
    assert_failure(answer, 504, "BackupSharing.0504")
    assert system.rows(backup_id) == []
    assert_success(await system.share(giver, backup_id, "recipient"))


async def test_504_for_a_share_that_waited_too_long_stores_nothing(
    system: System, giver: Project, backup_id: str
) -> None:
    with system.locked():
        answer = await system.share(giver, backup_id, "recipient", Grpc_Timeout="1300m")
    assert_failure(answer, 504, "BackupSharing.0504")
    assert_success(await system.share(giver, backup_id, "recipient"))
    assert len(system.rows(backup_id)) == 1


async def test_500_for_stored_data_that_cannot_be_read(own_system: System) -> None:
    giver = own_system.new_project()
    backup_id = own_system.put_backup(giver, name="x" * 200)
    assert_success(await own_system.share(giver, backup_id, "recipient"))
    own_system.spoil_backups()
    answer = await own_system.list(giver)
    assert_failure(answer, 500, "AutoBackup.0009")


async def test_after_100_continue_the_body_is_read(rest: Rest, idle: Project) -> None:
    reader, writer = await rest.connect()
    head = f"POST {idle.path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    writer.write(f"{head}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"[]")
    assert_failure(await read_answer(reader), 400, "VolumeBackup.0002", "an object")
    writer.close()
