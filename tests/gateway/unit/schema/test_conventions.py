"""File options that apply to all calls: values, defaults, and refusal of invalid ones."""

from __future__ import annotations

import pytest

from restmap_gateway.schema.conventions import Conventions, CrossingHeader, RequestIdForm
from restmap_gateway.schema.schema import SchemaError, load
from tests.support.protoc import compiled_texts

HEAD = """
syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "restmap/v1/restmap.proto";
"""
SHOP = """
message Item { string id = 1; }
service Shop { rpc Get(Item) returns (Item) { option (google.api.http) = {get: "/v1/{id}"}; } }
"""


def conventions(options: str, other: str = "") -> Conventions:
    """Load the conventions of a set of two files with these options."""
    texts = {
        "other.proto": f"{HEAD.replace('shop', 'other')}{_option(other)}",
        "shop.proto": f'{HEAD}import "other.proto";\n{_option(options)}{SHOP}',
    }
    return load(compiled_texts(texts)).conventions


def _option(text: str) -> str:
    return f"option (restmap.v1.file) = {{{text}}};" if text else ""


def test_a_set_without_options_has_the_usual_conventions() -> None:
    found = conventions("")
    assert found == Conventions()
    assert [mapping.header for mapping in found.request_headers] == ["authorization"]
    assert found.request_id == RequestIdForm("X-Request-Id", "x-request-id", "x-client-request-id", "")
    assert (found.proxy_headers, found.security_schemes, found.statuses.by_code) == ((), (), {})


def test_headers_of_all_files_add_up_and_replace_the_usual_ones() -> None:
    found = conventions(
        'request_headers: [{header: "X-Shop-Token"}] response_headers: [{header: "X-Left" metadata_key: "left"}]',
        'request_headers: [{header: "X-Other" metadata_key: "other"}] proxy_headers: [{header: "X-User"}]',
    )
    assert found.request_headers == (CrossingHeader("X-Other", "other"), CrossingHeader("X-Shop-Token", "x-shop-token"))
    assert found.proxy_headers == (CrossingHeader("X-User", "x-user"),)
    assert found.response_headers == (CrossingHeader("X-Left", "left"),)


@pytest.mark.parametrize(
    "option",
    [
        'request_headers: [{header: "authorization"}, {header: "x-auth-token"}, {header: "X-Service-Token"}]',
        'request_headers: [{header: "X-Session" metadata_key: "session"}, {header: "X-Tenant-*"}]',
        'request_headers: [{header: "User-Agent" metadata_key: "agent"}, {header: "X-Raw-Bin"}]',
        'response_headers: [{header: "Set-Cookie"}, {header: "Location" on_success: true}, {header: "X-Tenant-*"}]',
        'response_headers: [{header: "WWW-Authenticate"}, {header: "Proxy-Authenticate"}]',
        'proxy_headers: [{header: "proxy-authorization"}, {header: "x-roles"}]',
    ],
)
def test_headers_of_these_kinds_may_cross(option: str) -> None:
    assert conventions(option) != Conventions() or "WWW" in option


def test_grpc_metadata_before_a_name_is_not_in_the_key() -> None:
    found = conventions(
        'request_headers: [{header: "Grpc-Metadata-A"}, {header: "Grpc-Metadata-*"}]'
        ' response_headers: [{header: "Grpc-Metadata-B" on_success: true}]',
    )
    assert found.request_headers == (CrossingHeader("Grpc-Metadata-A", "a"), CrossingHeader("Grpc-Metadata-*", "*"))
    assert found.response_headers == (CrossingHeader("Grpc-Metadata-B", "b", on_success=True),)


def test_the_request_id_keeps_its_form_unless_a_file_says_so() -> None:
    assert conventions('request_id: {header: "X-Id"}').request_id == RequestIdForm("X-Id", "x-id")
    found = conventions('request_id: {metadata_key: "id" client_metadata_key: "theirs" prefix: "i-"}').request_id
    assert found == RequestIdForm("X-Request-Id", "id", "theirs", "i-")


def test_statuses_are_by_code() -> None:
    statuses = conventions(
        "statuses: [{code: CANCELLED http_status: 408}]",
        "statuses: [{code: RESOURCE_EXHAUSTED quota_http_status: 403}]",
    ).statuses
    assert (statuses.by_code, statuses.quota) == ({"CANCELLED": 408}, 403)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ('request_headers: [{header: "no header"}]', "'no header' is not the name of a header"),
        ('request_headers: [{header: ""}]', "'' is not the name of a header"),
        ('request_headers: [{header: "X-A" metadata_key: "Upper"}]', "'Upper' is not the key of metadata"),
        ('proxy_headers: [{header: "X-A-Bin"}]', "'x-a-bin' is not the key of metadata"),
        ('request_headers: [{header: "Grpc-Status"}]', "'grpc-status' is one that gRPC or the gateway sets itself"),
        ('request_headers: [{header: "traceparent"}]', "'traceparent' is one that gRPC or the gateway sets itself"),
        ('proxy_headers: [{header: "X-Forwarded-For"}]', "'x-forwarded-for' is one that gRPC or the gateway sets"),
        ('response_headers: [{header: "Content-Length"}]', "'Content-Length' is one that the gateway sets itself"),
        ('request_headers: [{header: "X-Request-Id"}]', "'x-request-id' is that of request ids, and of something else"),
        (
            'request_headers: [{header: "X-A" metadata_key: "x-roles"}]',
            "metadata 'x-roles': a proxy describes the caller",
        ),
        ('request_headers: [{header: "X-Roles"}]', "a proxy describes the caller in it; name it in proxy_headers"),
        ('request_headers: [{header: "X-Roles" metadata_key: "r"}]', "header 'X-Roles' may not become metadata"),
        ('request_headers: [{header: "Grpc-Metadata-X-Roles"}]', "metadata 'x-roles': a proxy describes the caller"),
        ('request_headers: [{header: "X_Roles"}]', "metadata 'x_roles': a proxy describes the caller"),
        (
            'request_headers: [{header: "X-A" metadata_key: "authorization"}]',
            "'authorization': it carries a credential",
        ),
        ('request_headers: [{header: "X-A" metadata_key: "x-api-token"}]', "'x-api-token': it carries a credential"),
        ('request_headers: [{header: "Forwarded"}]', "'forwarded': gRPC, the gateway or a proxy sets it"),
        ('request_headers: [{header: "X-Forwarded-User"}]', "'x-forwarded-user': gRPC, the gateway or a proxy sets it"),
        ('request_headers: [{header: "X-Forwarded-For" metadata_key: "ip4"}]', "'X-Forwarded-For' may not become"),
        ('request_headers: [{header: "Proxy-Authorization"}]', "'proxy-authorization': it is about one connection"),
        ('request_headers: [{header: "Keep-Alive" metadata_key: "a"}]', "'Keep-Alive' may not become metadata"),
        ('request_headers: [{header: "*"}]', "the prefix '*' is too short"),
        ('request_headers: [{header: "Grpc-*"}]', "the prefix 'Grpc-*' is too short"),
        ('request_headers: [{header: "X-A-*" metadata_key: "a"}]', "the prefix 'X-A-*' has a metadata_key"),
        ('request_headers: [{header: "X-Forwarded-*"}]', "no request header may set the metadata 'x-forwarded-*'"),
        ('proxy_headers: [{header: "X-A-*"}]', "'x-a-*' is not the key of metadata"),
        ('response_headers: [{header: "Content-Security-Policy" metadata_key: "a"}]', "may not come from metadata"),
        ('response_headers: [{header: "X-A" metadata_key: "content-type"}]', "'X-A' may not come from metadata"),
        ('response_headers: [{header: "Access-Control-Allow-Origin"}]', "may not come from metadata: the gateway sets"),
        (
            'response_headers: [{header: "X-Frame-Options"}]',
            "may not come from metadata: browsers or proxies act on it",
        ),
        ('response_headers: [{header: "WWW-Authenticate" on_success: true}]', "may not come from metadata"),
        ('response_headers: [{header: "WWW-Authenticate" metadata_key: "a"}]', "may not come from metadata"),
        ('request_id: {metadata_key: "a" client_metadata_key: "a"}', "'a' is that of request ids"),
        ('request_id: {prefix: "a b"}', "the prefix 'a b' of request ids must be"),
        ('request_id: {header: "a b"}', "'a b' is not the name of a header"),
        ('security_schemes: [{name: "token"}]', "the security scheme 'token' needs a name, and a header"),
        ('security_schemes: [{header: "X-A"}]', "the security scheme '' needs a name"),
        ('api_contact: {url: "shop.example"}', "api_contact: 'shop.example' is not an absolute http or https URL"),
        ('api_contact: {email: "the shop"}', "api_contact: 'the shop' is not an email address"),
        ('api_license: {name: "MIT" url: "/license"}', "api_license: '/license' is not an absolute http or https URL"),
        ('api_license: {url: "https://a.example"}', "api_license: the name of the license is missing"),
        ('path_metadata_key: "Upper"', "'Upper' is not the key of metadata"),
        ('http_method_metadata_key: "te"', "'te' is one that gRPC or the gateway sets itself"),
        ('path_metadata_key: "x-request-id"', "'x-request-id' is that of the HTTP method or path, and of something"),
        ('path_metadata_key: "a" http_method_metadata_key: "a"', "'a' is that of the HTTP method or path"),
        (
            'path_metadata_key: "x-a" request_headers: [{header: "X-A"}]',
            "'x-a' is that of the HTTP method or path, and of something else",
        ),
        (
            'http_method_metadata_key: "a" proxy_headers: [{header: "X-A" metadata_key: "a"}]',
            "'a' is that of the HTTP method or path, and of something else",
        ),
        ("statuses: [{code: OK http_status: 400}]", "statuses: OK is not the code of a failure"),
        ("statuses: [{http_status: 410}]", "statuses: OK is not the code of a failure"),
        ("statuses: [{code: 77 http_status: 410}]", "has value 77 of statuses.code, unknown to this gateway"),
        ("statuses: [{code: ABORTED http_status: 200}]", "200 is not the HTTP status of a failure"),
        ("statuses: [{code: ABORTED quota_http_status: 403}]", "quota_http_status is for RESOURCE_EXHAUSTED"),
    ],
)
def test_conventions_that_make_no_sense_are_refused(option: str, said: str) -> None:
    with pytest.raises(SchemaError) as error:
        conventions(option)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ('request_id: {header: "X-A"}', "request_id"),
        ('api_title: "A"', "api_title"),
        ('api_version: "1"', "api_version"),
        ('api_description: "A"', "api_description"),
        ('api_contact: {name: "A"}', "api_contact"),
        ('api_license: {name: "A"}', "api_license"),
        ('path_metadata_key: "a"', "path_metadata_key"),
        ('http_method_metadata_key: "a"', "http_method_metadata_key"),
        ('request_headers: [{header: "X-A"}]', "the request header 'x-a'"),
        ('response_headers: [{header: "X-A"}]', "the response header 'x-a'"),
        ('security_schemes: [{name: "token" header: "X-A"}]', "the security scheme 'token'"),
        ("statuses: [{code: ABORTED http_status: 412}]", "the status of ABORTED"),
    ],
)
def test_what_only_one_file_may_say_is_refused_in_a_second(option: str, said: str) -> None:
    with pytest.raises(SchemaError) as error:
        conventions(option, option)
    assert f"shop.proto: sets {said}, as other.proto does already" in str(error.value)


def test_a_header_of_callers_and_of_a_proxy_is_refused() -> None:
    with pytest.raises(SchemaError, match="sets the request header 'x-user'"):
        conventions('request_headers: [{header: "X-User"}] proxy_headers: [{header: "x-user"}]')
