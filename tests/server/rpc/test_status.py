"""The encoding of failures in gRPC statuses and trailers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from backup_sharing import errors
from backup_sharing.errors import Failure, InvalidArgument, Violation
from backup_sharing.rpc import status
from backup_sharing.usecases.checks import Checks
from backupsharing.v2 import error_reason_pb2
from restmap.v1 import restmap_pb2
from tests.server.failure_details import DETAILS, MOST_TRAILERS, failure_details, size_of_trailers
from tests.server.failures import EXAMPLES, SPECIFIC_REASONS, kinds
from tests.server.identities import BACKUP, GIVER, REQUEST_ID, projects

REPO = Path(__file__).parents[3]
DOCUMENTED_CODES = REPO / "tests" / "contract" / "error_codes.json"

REASONS = [name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()]  # noqa: SIM118 - keys() of an enum
SENT = [reason for reason in REASONS if reason != "UNSPECIFIED"]

each_failure = pytest.mark.parametrize("failure", EXAMPLES, ids=lambda failure: type(failure).__name__)


def test_there_is_an_example_of_every_kind_of_failure() -> None:
    assert {type(failure) for failure in EXAMPLES} == set(kinds())


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
def test_every_kind_of_failure_has_a_grpc_code_of_failure(kind: type[Failure]) -> None:
    assert status.REASONS[kind.reason].grpc_code is not grpc.StatusCode.OK


@each_failure
def test_a_failure_tells_its_reason_code_and_request(failure: Failure) -> None:
    read = failure_details(status.of_failure(failure, REQUEST_ID).details)
    assert (read.code, read.message) == (status.REASONS[failure.reason].grpc_code, failure.message)
    assert (read.reason, read.domain, read.request_id) == (failure.reason, "backupsharing", REQUEST_ID)
    assert read.metadata == {**failure.metadata, "code": status.REASONS[failure.reason].code}


@each_failure
def test_the_status_beside_the_details_says_the_same(failure: Failure) -> None:
    beside = status.of_failure(failure, REQUEST_ID)
    read = failure_details(beside.details)
    assert (beside.code, beside.message, beside.reason) == (read.code, read.message, read.reason)


@each_failure
def test_only_what_passes_by_itself_says_when_to_retry(failure: Failure) -> None:
    passes = isinstance(
        failure, errors.Overloaded | errors.Unavailable | errors.OutcomeUnknown | errors.IdentityUnavailable
    )
    read = failure_details(status.of_failure(failure, REQUEST_ID).details)
    assert read.retry_seconds == (status.RETRY_AFTER_SECONDS if passes else None)


@each_failure
def test_only_a_quota_failure_names_a_subject(failure: Failure) -> None:
    expected = [f"backup:{BACKUP}"] if isinstance(failure, errors.QuotaUsedUp) else None
    assert failure_details(status.of_failure(failure, REQUEST_ID).details).quota_subjects == expected


@each_failure
def test_only_an_invalid_argument_has_violations(failure: Failure) -> None:
    expected = [("limit", "too small")] if isinstance(failure, InvalidArgument) else None
    assert failure_details(status.of_failure(failure, REQUEST_ID).details).violations == expected


def test_overload_is_no_quota_although_the_code_is_the_same() -> None:
    overload, quota = errors.Overloaded("too many"), errors.QuotaUsedUp(BACKUP, 1)
    assert status.REASONS[overload.reason].grpc_code is status.REASONS[quota.reason].grpc_code
    assert failure_details(status.of_failure(overload, REQUEST_ID).details).quota_subjects is None


def test_every_violation_is_told_in_order() -> None:
    failure = InvalidArgument([Violation("a", "first"), Violation("b", "second", "BACKUP_ID_MALFORMED")])
    read = failure_details(status.of_failure(failure, REQUEST_ID).details)
    assert read.violations == [("a", "first"), ("b", "second")]
    assert (read.reason, read.metadata["code"]) == ("BACKUP_ID_MALFORMED", "VolumeBackup.0204")


def test_a_defect_tells_nothing_but_its_request() -> None:
    defect = status.of_defect(REQUEST_ID)
    assert defect.reason == "INTERNAL"
    read = failure_details(defect.details)
    assert (read.code, read.reason, read.request_id) == (grpc.StatusCode.INTERNAL, "INTERNAL", REQUEST_ID)
    assert read.metadata == {"code": "AutoBackup.0009"}


def test_each_reason_but_unspecified_is_produced() -> None:
    produced = {kind.reason for kind in kinds()} | set(SPECIFIC_REASONS) | {status.INTERNAL}
    assert produced == set(SENT)


@pytest.mark.parametrize("reason", SPECIFIC_REASONS)
def test_the_checks_produce_each_specific_reason(reason: str) -> None:
    kind = reason.partition("_")[0]
    checks = Checks()
    checks.uuid("id", "" if reason.endswith("MISSING") else "abc", kind)
    with pytest.raises(InvalidArgument) as refused:
        checks.done()
    assert refused.value.specific_reason == reason


@pytest.mark.parametrize("reason", SENT)
def test_each_reason_has_a_code(reason: str) -> None:
    assert status.REASONS[reason].code


def test_the_domain_is_the_one_that_leads_to_the_reasons() -> None:
    [domain] = error_reason_pb2.DESCRIPTOR.GetOptions().Extensions[restmap_pb2.file].error_domains
    assert (domain.domain, domain.reason_enum) == (status.DOMAIN, error_reason_pb2.ErrorReason.DESCRIPTOR.full_name)


@pytest.mark.parametrize("reason", SENT)
def test_the_comment_of_a_reason_begins_with_its_grpc_code(reason: str) -> None:
    assert comments()[reason].startswith(status.REASONS[reason].grpc_code.name)


@pytest.mark.skipif(not DOCUMENTED_CODES.exists(), reason="the list of documented error codes is missing")
def test_every_code_is_documented_or_our_own() -> None:
    documented = {entry["code"] for entry in json.loads(DOCUMENTED_CODES.read_text())}
    assert {code for code in codes() if code not in documented} == {
        code for code in codes() if code.startswith("BackupSharing.")
    }


def long_failures() -> Iterator[Failure]:
    """Yield the longest failures that a caller can cause."""
    yield errors.AlreadyShared(BACKUP, projects(1000, length=64))
    for value in ("x" * 70, "\U0001f600" * 70, "\U0010ffff" * 70, "\0" * 70, "'\"" * 35):
        checks = Checks()
        checks.recipients("shared.to_project_ids", [f"{value}{number}" for number in range(1000)], GIVER, 1000)
        with pytest.raises(InvalidArgument) as refused:
            checks.done()
        yield refused.value
        yield errors.BackupNotAvailable(BACKUP, value[:64])


@pytest.mark.parametrize("failure", list(long_failures()), ids=lambda failure: type(failure).__name__)
def test_the_longest_status_fits_into_the_trailers_of_a_call(failure: Failure) -> None:
    told_ = status.of_failure(failure, REQUEST_ID)
    trailers = [("x-openstack-request-id", REQUEST_ID), (DETAILS, told_.details)]
    assert size_of_trailers(told_.message, trailers) <= MOST_TRAILERS


@pytest.mark.parametrize("number", [1, 20])
def test_a_conflict_names_all_of_a_few_projects(number: int) -> None:
    failure = errors.AlreadyShared(BACKUP, projects(number))
    assert failure.message == f"Backup {BACKUP} is already shared with {', '.join(projects(number))}."
    assert failure.metadata["to_project_ids"] == ", ".join(projects(number))


def test_a_conflict_with_many_projects_names_some_and_a_number() -> None:
    failure = errors.AlreadyShared(BACKUP, projects(1000))
    assert failure.message.endswith(f"{projects(20)[-1]} and 980 more.")
    assert failure.metadata["to_project_ids"] == ", ".join(projects(20))


def comments() -> dict[str, str]:
    """Return the comment of each reason in the proto file."""
    files = FileDescriptorSet.FromString((REPO / "protos/backupsharing/image.binpb").read_bytes()).file
    [file] = [file for file in files if file.name == error_reason_pb2.DESCRIPTOR.name]
    return {
        file.enum_type[0].value[location.path[3]].name.removeprefix("ERROR_REASON_"): location.leading_comments.strip()
        for location in file.source_code_info.location
        if list(location.path[:3]) == [5, 0, 2] and len(location.path) == 4
    }


def codes() -> set[str]:
    """Return all codes that a caller can see: of all reasons, and of failures in the gateway itself."""
    own = error_reason_pb2.DESCRIPTOR.GetOptions().Extensions[restmap_pb2.file].failure_codes
    return {status.REASONS[reason].code for reason in SENT} | {code for _, code in own.ListFields()}
