"""How proto comments become descriptions."""

from __future__ import annotations

import pytest

from restmap_gateway.openapi.comments import Comment, Comments
from restmap_gateway.schema.schema import load
from tests.support.protoc import DOCUMENTED, compiled_texts

HEAD = 'syntax = "proto3"; package shop.v1; import "google/api/annotations.proto";'
SERVICE = 'service Shop { rpc Do(Item) returns (Item) { option (google.api.http) = {get: "/v1/a"}; } }'


def comments(text: str) -> Comments:
    return Comments(load(compiled_texts({"shop.proto": f"{HEAD}\n{text}\n"}, *DOCUMENTED)).files)


def test_what_has_no_comment_has_an_empty_one() -> None:
    assert comments(f"message Item {{}} {SERVICE}").of("shop.v1.Item").text == ""


def test_a_set_without_source_info_has_no_comments() -> None:
    assert Comments([]).of("shop.v1.Item").text == ""


@pytest.mark.parametrize(
    "name",
    [
        "shop.v1.Item",
        "shop.v1.Item.id",
        "shop.v1.Item.Inner",
        "shop.v1.Item.Inner.text",
        "shop.v1.Item.Kind",
        "shop.v1.Item.Kind.KIND_UNSPECIFIED",
        "shop.v1.Color",
        "shop.v1.Color.COLOR_UNSPECIFIED",
        "shop.v1.Shop",
        "shop.v1.Shop.Do",
    ],
)
def test_each_kind_of_element_has_its_own_comment(name: str) -> None:
    text = """
    // shop.v1.Item
    message Item {
      // shop.v1.Item.id
      string id = 1;
      // shop.v1.Item.Inner
      message Inner {
        // shop.v1.Item.Inner.text
        string text = 1;
      }
      // shop.v1.Item.Kind
      enum Kind {
        // shop.v1.Item.Kind.KIND_UNSPECIFIED
        KIND_UNSPECIFIED = 0;
      }
    }
    // shop.v1.Color
    enum Color {
      // shop.v1.Color.COLOR_UNSPECIFIED
      COLOR_UNSPECIFIED = 0;
    }
    // shop.v1.Shop
    service Shop {
      // shop.v1.Shop.Do
      rpc Do(Item) returns (Item) { option (google.api.http) = {get: "/v1/a"}; }
    }
    """
    assert comments(text).of(name).text == name


def test_a_comment_behind_an_element_counts_where_none_is_above() -> None:
    found = comments(f"message Item {{\n  string id = 1; // Chosen by nobody.\n}}\n{SERVICE}")
    assert found.of("shop.v1.Item.id").text == "Chosen by nobody."


def test_what_is_meant_for_colleagues_and_tools_is_left_out() -> None:
    comment = "// Seen.\n//\n// (-- not\n// seen --)\n// buf:lint:ignore SOME_RULE\n//\n// Seen, too."
    assert comments(f"{comment}\nmessage Item {{}}\n{SERVICE}").of("shop.v1.Item").text == "Seen.\n\nSeen, too."


def test_indented_lines_stay_indented() -> None:
    text = f"// So:\n//\n//     a = 1\nmessage Item {{}}\n{SERVICE}"
    assert comments(text).of("shop.v1.Item").text == "So:\n\n    a = 1"


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("", ""),
        ("No stop", "No stop"),
        ("One. Two.", "One"),
        ("One\nline. Two.", "One line"),
        ("One\n\nTwo.", "One"),
        ("Is it? Yes.", "Is it?"),
        ("Version 1.2 of it. More.", "Version 1.2 of it"),
        ("Makes it, e.g. `Item`. More.", "Makes it, e.g. Item"),
        ("Ends with etc. and goes on. More.", "Ends with etc. and goes on"),
    ],
)
def test_the_summary_is_the_first_sentence(text: str, summary: str) -> None:
    assert Comment(text).summary == summary
