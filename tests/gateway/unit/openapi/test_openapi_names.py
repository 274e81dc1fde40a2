"""Names in an OpenAPI description: title and version, tags, operations and components."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources

import pytest

from restmap_gateway.openapi.names import Names
from tests.gateway.unit.descriptions import Json, described, operations, service
from tests.support.protoc import DOCUMENTED, compiled, compiled_texts

ITEM = "message Item { string id = 1; }"
SHOP = f'{ITEM} service Shop {{ rpc Do(Item) returns (Item) {{ option (google.api.http) = {{get: "/v1/a"}}; }} }}'


def rpc(name: str, rule: str, types: str = "(Item) returns (Item)") -> str:
    return f"rpc {name}{types} {{ option (google.api.http) = {{{rule}}}; }}"


POST = rpc("Do", 'post: "/v1" body: "*"')


def packages(texts: Mapping[str, str]) -> Json:
    """Describe a set with a file for each package."""
    head = 'syntax = "proto3"; package {}; import "google/api/annotations.proto";'
    files = {f"{package}.proto": f"{head.format(package)} {text}" for package, text in texts.items()}
    return described(compiled_texts(files, *DOCUMENTED), version=None)


def shop(package: str) -> str:
    """Return a service with one method."""
    call = rpc("Do", f'get: "/{package}"')
    return f"{ITEM} service Shop {{ {call} }}"


def objects(part: Json, path: str = "") -> list[str]:
    """Return where a description has an object schema with members."""
    if isinstance(part, list):
        return [found for one in part for found in objects(one, f"{path}/-")]
    if not isinstance(part, dict):
        return []
    here = [path] if part.get("type") == "object" and "properties" in part else []
    return here + [found for name, one in part.items() for found in objects(one, f"{path}/{name}")]


@pytest.fixture(scope="module", params=["packaged", "library"])
def any_description(request: pytest.FixtureRequest) -> Json:
    """Describe the packaged set, or a foreign set with one of every feature."""
    if request.param == "packaged":
        return described(resources.files("backupsharing").joinpath("image.binpb").read_bytes())
    return described(compiled("described.proto", flags=DOCUMENTED))


def test_the_title_is_that_of_the_set_or_its_package() -> None:
    assert service(SHOP)["info"]["title"] == "shop.v1"
    assert service(f'option (restmap.v1.file).api_title = "The shop"; {SHOP}')["info"]["title"] == "The shop"


@pytest.mark.parametrize(
    ("package", "version"), [("shop.v1", "v1"), ("shop.v1beta1", "v1beta1"), ("shop", "1"), ("vendor.shop", "1")]
)
def test_a_set_without_version_has_that_of_its_package(package: str, version: str) -> None:
    assert packages({package: shop(package)})["info"]["version"] == version


def test_a_package_without_version_hides_no_other() -> None:
    assert packages({"longrunning": shop("longrunning"), "kms.v1": shop("kms")})["info"]["version"] == "v1"


def test_the_file_options_say_who_made_the_api() -> None:
    options = """option (restmap.v1.file) = {
      api_version: "2.5" api_description: "Sells things."
      api_contact: {name: "The shop" url: "https://shop.example/help" email: "help@shop.example"}
      api_license: {name: "MIT" url: "https://shop.example/license"}
    };"""
    info = service(f"{options} {SHOP}")["info"]
    assert info["version"] == "2.5"
    assert info["description"].startswith("Sells things.\n\nEvery response has `X-Request-Id`")
    assert info["contact"] == {"name": "The shop", "url": "https://shop.example/help", "email": "help@shop.example"}
    assert info["license"] == {"name": "MIT", "url": "https://shop.example/license"}


def test_services_of_one_name_are_told_apart_by_packages() -> None:
    description = packages({name: shop(name) for name in ("one", "two")})
    assert [tag["name"] for tag in description["tags"]] == ["one.Shop", "two.Shop"]
    assert set(operations(description)) == {"one_Shop_Do", "two_Shop_Do"}


@pytest.mark.parametrize(
    "methods",
    [
        [("G", 'get: "/a" additional_bindings {get: "/b"}'), ("G_2", 'get: "/c"')],
        [("G_2", 'get: "/c"'), ("G", 'get: "/a" additional_bindings {get: "/b"}')],
        [("G", 'get: "/a" additional_bindings {get: "/b"} additional_bindings {get: "/d"}'), ("G2", 'get: "/c"')],
        [("GetIt", 'get: "/a"'), ("Get_It", 'get: "/b"'), ("getIt", 'get: "/c"'), ("GET_IT", 'get: "/d"')],
        [("G", 'get: "/a" additional_bindings {custom: {kind: "PURGE" path: "/a"}}'), ("G_2", 'get: "/c"')],
    ],
)
def test_operations_have_names_of_their_own(methods: list[tuple[str, str]]) -> None:
    body = " ".join(rpc(name, rule) for name, rule in methods)
    found = operation_ids(service(f"{ITEM} service Shop {{ {body} }}"))
    assert (
        len({plain(name) for name in found}) == len(found) == sum(rule.count("additional") + 1 for _, rule in methods)
    )


def operation_ids(description: Json) -> list[str]:
    items = [item for path in description["paths"].values() for item in path.items()]
    found = [one["operationId"] for name, one in items if name != "x-additionalOperations"]
    return found + [
        one["operationId"] for name, item in items if name == "x-additionalOperations" for one in item.values()
    ]


def plain(name: str) -> str:
    """Return a name as generators compare them: without case and punctuation."""
    return re.sub("[^a-z0-9]", "", name.lower())


@pytest.mark.parametrize(
    ("one", "two"),
    [("shop.v1", "shop_v1"), ("Shop.v1", "shop.V1"), ("a.b", "a_b")],
)
def test_packages_that_read_alike_do_not_collide(one: str, two: str) -> None:
    description = packages({one: shop(one), two: shop(two)})
    found = operation_ids(description)
    assert len({plain(name) for name in found}) == len(found) == 2
    names = [name for name in description["components"]["schemas"] if "Item" in name]
    assert len({plain(name) for name in names}) == len(names) == 2


def test_service_and_method_names_that_join_alike_do_not_collide() -> None:
    one, two = rpc("B_C", 'get: "/a"'), rpc("C", 'get: "/b"')
    text = f"{ITEM} service A {{ {one} }} service A_B {{ {two} }}"
    assert set(operations(service(text))) == {"A_B_C", "A_B_C_2"}


def test_components_have_the_short_names_of_messages() -> None:
    text = f"""message Item {{ enum Kind {{ NONE = 0; }} message Part {{ Kind kind = 1; }} Part part = 1; }}
    service Shop {{ {POST} }}"""
    found = set(service(text)["components"]["schemas"])
    assert found - {"ErrorResponse", "ErrorDescription", "FieldViolation"} == {
        "Item",
        "ItemInput",
        "ItemKind",
        "ItemPart",
        "ItemPartInput",
    }


def test_messages_of_one_name_are_told_apart_by_packages() -> None:
    names = set(packages({name: shop(name) for name in ("a.v1", "b.v1")})["components"]["schemas"])
    assert {name for name in names if "Item" in name} == {"AV1Item", "BV1Item"}


def test_messages_named_like_forms_of_others_keep_their_names() -> None:
    text = f"""message Item {{ ItemInput a = 1; ErrorResponse b = 2; itemInput c = 3; }}
    message ItemInput {{ string x = 1; }} message ErrorResponse {{ string y = 1; }}
    message itemInput {{ string z = 1; }}
    service Shop {{ {POST} }}"""
    found = service(text)["components"]
    assert list(found["schemas"]["ErrorResponse"]["properties"]) == ["y"]
    shape = found["responses"]["Failure400"]["content"]["application/json"]["schema"]
    assert shape == {"$ref": "#/components/schemas/GatewayErrorResponse"}
    names = [*found["schemas"], *found["responses"]]
    assert len({plain(name) for name in names}) == len(names)


def test_no_component_is_named_like_a_type_of_an_operation() -> None:
    text = f"""message ShopDoRequest {{ string id = 1; }} message ShopDoResponse {{ string id = 1; }}
    service Shop {{ {POST.replace("Item) returns (Item", "ShopDoRequest) returns (ShopDoResponse")} }}"""
    assert not {"ShopDoRequest", "ShopDoResponse"} & set(service(text)["components"]["schemas"])


def test_names_of_components_are_plain(any_description: Json) -> None:
    names = [name for kind in ("schemas", "responses", "headers") for name in any_description["components"][kind]]
    assert [name for name in names if not re.fullmatch("[A-Z][A-Za-z0-9]*", name)] == []
    assert len({plain(name) for name in names}) == len(names)


def test_every_object_has_a_name(any_description: Json) -> None:
    found = objects(any_description)
    assert [path for path in found if not re.fullmatch(r"/components/schemas/\w+", path)] == []
    assert len(found) > 5


def test_a_name_that_is_taken_gets_the_next_number() -> None:
    names = Names(["Item", "item_2"])
    assert [names.take("Item"), names.take("Item", "ShopItem"), names.take("Item", "ShopItem")] == [
        "Item3",
        "ShopItem",
        "ShopItem2",
    ]
