"""Page tokens that are invented, stolen or damaged are refused, and never cause a defect."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_sharing.store.interface import Position
from backup_sharing.usecases.page_token import NOTHING, NUMBER, TEXT, Kinds, decode, encode
from tests.server.identities import BACKUP

LIST = ("a list", 1)
OTHER_LIST = ("a list", 2)

ANY = NUMBER | TEXT | NOTHING

values = st.none() | st.text() | st.integers(-(2**63), 2**63 - 1)
uuids = st.uuids().map(str)


def forged(*members: object) -> str:
    """Return a token with the digest of `LIST`, which anyone can read in a valid token of that list."""
    return made_of(json.dumps([digest_of_the_list(), *members]))


def made_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def digest_of_the_list() -> str:
    token = encode(Position(None, BACKUP), LIST)
    digest: str = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))[0]
    return digest


@given(values, uuids)
def test_a_token_leads_back_to_its_position(value: str | int | None, id: str) -> None:
    position = Position(value, id)
    assert decode(encode(position, LIST), LIST, ANY) == position


@given(values, uuids)
def test_a_token_of_another_list_is_none(value: str | int | None, id: str) -> None:
    assert decode(encode(Position(value, id), LIST), OTHER_LIST, ANY) is None


@given(st.text())
def test_any_text_is_none(text: str) -> None:
    assert decode(text, LIST, ANY) is None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists, max_leaves=5))
def test_any_json_is_none(document: object) -> None:
    assert decode(made_of(json.dumps(document)), LIST, ANY) is None


@pytest.mark.parametrize(
    "members",
    [
        (2**63, BACKUP),
        (-(2**63) - 1, BACKUP),
        (10**300, BACKUP),
        (1.5, BACKUP),
        (float("nan"), BACKUP),
        (float("inf"), BACKUP),
        (True, BACKUP),
        ([], BACKUP),
        ({}, BACKUP),
        ("\ud800", BACKUP),
        (1, "\ud800"),
        (1, 1),
        (1, ""),
        (1, "1"),
        (1, BACKUP.upper()),
        (1, BACKUP + "\n"),
        (1, BACKUP + "\0"),
        (1, None),
        (1,),
        (1, BACKUP, 1),
        (),
    ],
)
def test_a_forged_token_with_what_no_database_can_hold_is_none(members: tuple[object, ...]) -> None:
    assert decode(forged(*members), LIST, ANY) is None


@pytest.mark.parametrize(("value", "kind"), [(1, NUMBER), ("1", TEXT), ("", TEXT), (None, NOTHING)])
@pytest.mark.parametrize("kinds", [NUMBER, TEXT, NOTHING, NUMBER | NOTHING, TEXT | NOTHING, NUMBER | TEXT])
def test_a_value_has_the_kind_that_the_list_is_sorted_by(value: str | int | None, kind: Kinds, kinds: Kinds) -> None:
    expected = Position(value, BACKUP) if kind in kinds else None
    assert decode(forged(value, BACKUP), LIST, kinds) == expected


def test_the_longest_text_of_a_list_fits_into_a_token() -> None:
    position = Position("\U0001f4be" * 255, BACKUP)
    assert decode(encode(position, LIST), LIST, TEXT) == position


def test_a_very_long_token_is_none_before_it_is_read() -> None:
    assert decode(encode(Position("a" * 20_000, BACKUP), LIST), LIST, TEXT) is None


def test_the_forger_knows_his_trade() -> None:
    assert decode(forged(1, BACKUP), LIST, ANY) == Position(1, BACKUP)


@pytest.mark.parametrize(
    "text",
    ["1" * 10_000, "[" * 100_000, "null", '{"a": 1, "b": 2, "c": 3}', "\ufeff[]", "[1, 2"],
    ids=["huge number", "deep nesting", "null", "object", "byte order mark", "half"],
)
def test_a_token_that_is_no_list_is_none(text: str) -> None:
    assert decode(made_of(text), LIST, ANY) is None


@pytest.mark.parametrize("damaged", ["é", "====", "a b", "a\n", "%41", "\0", "a" * 100_000])
def test_a_token_that_is_no_base64_is_none(damaged: str) -> None:
    assert decode(damaged, LIST, ANY) is None


@given(st.data())
def test_a_token_with_one_changed_character_fails_no_other_way(data: st.DataObject) -> None:
    token = encode(Position("name", BACKUP), LIST)
    place = data.draw(st.integers(0, len(token) - 1))
    changed = token[:place] + data.draw(st.characters()) + token[place + 1 :]
    found = decode(changed, LIST, ANY)
    assert found is None or isinstance(found, Position)


def test_a_token_can_stand_in_an_address_unquoted() -> None:
    token = encode(Position("?>~ÿ" * 20, BACKUP), LIST)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
