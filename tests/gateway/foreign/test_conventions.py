"""Descriptor sets with custom request ids, headers and statuses, and a set without these options."""

from __future__ import annotations

import re

import grpc
import pytest
from google.rpc.error_details_pb2 import QuotaFailure

from restmap_gateway.schema.schema import SchemaError
from tests.gateway.foreign.conftest import NewForeign
from tests.gateway.foreign.foreign import Answer, Foreign
from tests.gateway.foreign.system import Reply
from tests.gateway.foreign.test_upstream_errors import failure

Code = grpc.StatusCode
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
THING = "GET /v1/things/cup"
CLIENTS_ID = "066b1e37-9305-4057-97e5-2e99b21fc71d"
SENT = (
    ("X-Tenant", "acme"),
    ("X-Session", "s3"),
    ("X-Person", "somebody"),
    ("Authorization", "Bearer abc"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
)


@pytest.fixture(scope="module")
def own(start: NewForeign) -> Foreign:
    """Service with custom conventions."""
    return start("conventions")


@pytest.fixture(scope="module")
def behind_proxy(start: NewForeign) -> Foreign:
    """Service with custom conventions, behind an authenticating proxy."""
    return start("conventions", proxy_identity=True)


def crossed(foreign: Foreign, *headers: tuple[str, str], request: str = THING) -> tuple[Answer, dict[str, str]]:
    """Return the response and the call's metadata, without gRPC's own keys and the client address."""
    answer = foreign.call(request, headers=headers)
    (metadata,) = foreign.echo.metadata
    usual = ("user-agent", "grpc-accept-encoding", "x-forwarded-for")
    return answer, {key: value for key, value in metadata if key not in usual}


def test_the_headers_that_a_set_names_cross_under_its_names(own: Foreign) -> None:
    _, seen = crossed(own, *SENT)
    assert re.fullmatch(f"c_{UUID}", seen.pop("correlation"))
    assert (seen.pop("verb"), seen.pop("target")) == ("GET", "/v1/things/cup")
    assert seen == {"tenant": "acme", "x-session": "s3", "traceparent": SENT[-1][1]}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/things/cup?", "/v1/things/cup"),
        ("/v1/things/%63up%2F%C3%A9", "/v1/things/%63up%2F%C3%A9"),
        ("http://elsewhere.example/v1/things/cup", "/v1/things/cup"),
    ],
)
def test_method_and_path_cross_as_they_were_sent(own: Foreign, target: str, path: str) -> None:
    _, seen = crossed(own, request=f"GET {target}")
    assert (seen["verb"], seen["target"]) == ("GET", path)


@pytest.mark.parametrize("name", ["verb", "Target", "X-Verb", "Grpc-Metadata-Verb", "X-Http-Method-Override"])
def test_no_header_of_a_client_sets_method_or_path(own: Foreign, name: str) -> None:
    own.call(THING, headers=[(name, "forged")])
    (metadata,) = own.echo.metadata
    assert [value for key, value in metadata if key in ("verb", "target")] == ["GET", "/v1/things/cup"]
    assert "forged" not in str(metadata)


def test_a_path_too_long_for_metadata_does_not_cross(own: Foreign) -> None:
    _, seen = crossed(own, request=f"GET /v1/things/{'c' * 2048}")
    assert (seen["verb"], "target" in seen) == ("GET", False)


def test_headers_of_a_proxy_cross_only_where_one_is_expected(behind_proxy: Foreign) -> None:
    _, seen = crossed(behind_proxy, *SENT)
    assert (seen["x-person"], seen["tenant"]) == ("somebody", "acme")


def test_without_options_authorization_crosses_and_no_other(foreign: Foreign) -> None:
    answer, seen = crossed(foreign, *SENT, ("X-Request-Id", CLIENTS_ID), request="GET /v1/answer/all")
    assert seen.pop("x-request-id") == answer.headers["X-Request-Id"]
    assert seen == {
        "authorization": "Bearer abc",
        "traceparent": SENT[-1][1],
        "x-client-request-id": CLIENTS_ID,
    }


def test_without_options_a_request_id_is_a_uuid(foreign: Foreign) -> None:
    assert re.fullmatch(UUID, foreign.call("GET /v1/answer/all").headers["X-Request-Id"])
    failed = foreign.call("GET /nothing")
    assert failed.json["error"]["request_id"] == failed.headers["X-Request-Id"]


def test_the_request_id_has_the_header_and_form_of_the_set(own: Foreign) -> None:
    answer, seen = crossed(own, ("X-Correlation-Id", f"c_{CLIENTS_ID}"))
    assert re.fullmatch(f"c_{UUID}", answer.headers["X-Correlation-Id"])
    assert seen["correlation"] == answer.headers["X-Correlation-Id"]
    assert seen["correlation-of-client"] == f"c_{CLIENTS_ID}"
    assert "X-Request-Id" not in answer.headers


def test_a_clients_id_of_another_form_does_not_cross(own: Foreign) -> None:
    _, seen = crossed(own, ("X-Correlation-Id", CLIENTS_ID))
    assert "correlation-of-client" not in seen


@pytest.mark.parametrize("code", [Code.OK, Code.NOT_FOUND])
def test_the_servers_id_counts_if_it_has_the_form_of_the_set(own: Foreign, code: Code) -> None:
    for sent, is_taken in ((f"c_{CLIENTS_ID}", True), (CLIENTS_ID, False)):
        own.echo.reply = Reply(None, code, "", (("correlation", sent),))
        assert (own.call(THING).headers["X-Correlation-Id"] == sent) is is_taken


def test_metadata_of_a_failure_become_the_headers_of_the_set(own: Foreign) -> None:
    own.echo.reply = Reply(b"", Code.NOT_FOUND, "", (("tokens-left", "5"), ("www-authenticate", "Basic")))
    answer = own.call(THING)
    assert answer.headers["X-Tokens-Left"] == "5"
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize(
    ("code", "status"),
    [(Code.CANCELLED, 408), (Code.RESOURCE_EXHAUSTED, 503), (Code.FAILED_PRECONDITION, 412), (Code.ABORTED, 409)],
)
def test_the_statuses_of_the_set_win_over_the_usual_ones(own: Foreign, code: Code, status: int) -> None:
    own.echo.reply = failure(code)
    answer = own.call(THING)
    assert (answer.status, answer.json["error"]["code"]) == (status, code.name)
    assert ("Retry-After" in answer.headers) is (status == 503)


def test_a_quota_that_is_used_up_has_the_status_of_the_set(own: Foreign) -> None:
    own.echo.reply = failure(Code.RESOURCE_EXHAUSTED, QuotaFailure())
    assert own.call(THING).status == 403


def test_a_proxy_that_a_set_does_not_know_is_refused(start: NewForeign) -> None:
    with pytest.raises(SchemaError, match="no file names the headers of an authenticating proxy"):
        start("everything", proxy_identity=True)
