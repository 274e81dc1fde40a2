"""Checks of values: accepted values, refused values, and the messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_sharing.errors import InvalidArgument
from backup_sharing.usecases.checks import MOST_VIOLATIONS, Checks, shown
from tests.server.identities import BACKUP, GIVER, OTHER, RECIPIENT, projects


def refused(checks: Checks) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as raised:
        checks.done()
    return raised.value


def fields(checks: Checks) -> list[str]:
    return [violation.field for violation in refused(checks).violations]


@pytest.mark.parametrize(
    "value",
    [
        "abc",
        BACKUP[:-1],
        BACKUP + "0",
        BACKUP + "\n",
        " " + BACKUP,
        BACKUP.replace("-", ""),
        BACKUP.replace("-", "_"),
        "{" + BACKUP + "}",
        "urn:uuid:" + BACKUP,
        BACKUP.replace("0", "\u0660"),
        BACKUP.replace("0", "g"),
    ],
)
def test_a_malformed_backup_id_is_refused(value: str) -> None:
    checks = Checks()
    checks.uuid("shared.backup_id", value, "BACKUP")
    assert refused(checks).specific_reason == "BACKUP_ID_MALFORMED"


def test_a_malformed_id_is_told_in_the_documented_words() -> None:
    checks = Checks()
    checks.uuid("shared.backup_id", "abc", "BACKUP")
    assert refused(checks).message == (
        "The format of parameter backup_id in the request is incorrect: 'abc' is not a UUID."
    )


def test_a_missing_backup_id_has_a_reason_of_its_own() -> None:
    checks = Checks()
    checks.uuid("shared.backup_id", "", "BACKUP")
    assert refused(checks).specific_reason == "BACKUP_ID_MISSING"


@pytest.mark.parametrize("value", ["", "abc"])
def test_a_bad_sharing_id_is_malformed(value: str) -> None:
    checks = Checks()
    checks.uuid("id", value, "SHARING")
    assert refused(checks).specific_reason == "SHARING_ID_MALFORMED"


def test_a_uuid_in_upper_case_is_answered_in_lower_case() -> None:
    checks = Checks()
    assert checks.uuid("id", BACKUP.upper(), "BACKUP") == BACKUP
    checks.done()


@pytest.mark.parametrize("value", ["", "a" * 65, "a b", "a/b", "a.b", "ä", "a\n", "٣", "a\0"])
def test_a_malformed_project_id_is_refused(value: str) -> None:
    checks = Checks()
    checks.project_id("project_id", value)
    assert fields(checks) == ["project_id"]


@pytest.mark.parametrize("value", ["a", "a" * 64, "Z-_9", GIVER])
def test_project_ids_of_1_to_64_characters_are_accepted(value: str) -> None:
    checks = Checks()
    assert checks.project_id("project_id", value) == value
    checks.done()


@pytest.mark.parametrize("value", ["a" * 6, "a\0b"])
def test_a_text_that_is_too_long_or_has_a_nul_is_refused(value: str) -> None:
    checks = Checks()
    checks.text("name", value, 5)
    assert fields(checks) == ["name"]


def test_a_text_is_measured_in_characters() -> None:
    checks = Checks()
    assert checks.text("name", "😀" * 5, 5) == "😀" * 5
    checks.done()


def test_a_required_text_must_not_be_empty() -> None:
    checks = Checks()
    checks.text("status", "", required=True)
    assert fields(checks) == ["status"]


def test_a_text_may_be_empty_unless_it_is_required() -> None:
    checks = Checks()
    assert checks.text("name", "") == ""
    checks.done()


def test_a_number_below_the_least_is_refused_with_both() -> None:
    checks = Checks()
    checks.number("limit", 0, 1)
    assert refused(checks).message == "The value of limit is incorrect: 0 is less than 1."


def test_an_unknown_word_is_refused_with_those_that_are_known() -> None:
    checks = Checks()
    checks.one_of("sort_dir", "up", ("asc", "desc"))
    assert refused(checks).message == "The value of sort_dir is incorrect: 'up' is not one of asc, desc."


@pytest.mark.parametrize("key", ["", "a" * 256, "a b", "ä", "a\n", "a\x7f", "\0"])
def test_a_malformed_idempotency_key_is_refused(key: str) -> None:
    checks = Checks()
    checks.idempotency_key("idempotency_key", key)
    expected = f"The value of idempotency_key is incorrect: {shown(key)} is not 1 to 255 visible ASCII characters."
    assert refused(checks).message == expected


@pytest.mark.parametrize("key", [None, "a", "a" * 255, "!~\"'\\"])
def test_idempotency_keys_of_visible_ascii_are_accepted(key: str | None) -> None:
    checks = Checks()
    assert checks.idempotency_key("idempotency_key", key) == key
    checks.done()


def test_no_recipients_are_refused_with_the_numbers_expected() -> None:
    checks = Checks()
    checks.recipients("to", [], GIVER, 1000)
    assert refused(checks).message == "The value of to has 0 entries; 1 to 1000 are expected."


def test_more_recipients_than_the_most_are_refused() -> None:
    checks = Checks()
    checks.recipients("to", projects(4), GIVER, 3)
    assert fields(checks) == ["to"]


def test_as_many_recipients_as_the_most_are_accepted() -> None:
    checks = Checks()
    assert checks.recipients("to", projects(3), GIVER, 3) == projects(3)
    checks.done()


def test_a_recipient_given_twice_is_refused_by_its_place() -> None:
    checks = Checks()
    checks.recipients("to", [RECIPIENT, OTHER, RECIPIENT], GIVER, 1000)
    assert fields(checks) == ["to[2]"]


def test_the_giver_as_a_recipient_is_refused_by_its_place() -> None:
    checks = Checks()
    checks.recipients("to", [RECIPIENT, GIVER], GIVER, 1000)
    assert fields(checks) == ["to[1]"]


def test_every_violation_is_reported_in_the_order_of_the_checks() -> None:
    checks = Checks()
    checks.project_id("project_id", "")
    checks.recipients("to", ["a b", RECIPIENT, RECIPIENT], GIVER, 1000)
    checks.uuid("backup_id", "x", "BACKUP")
    assert fields(checks) == ["project_id", "to[0]", "to[2]", "backup_id"]


def test_a_specific_reason_wins_over_the_general_one() -> None:
    checks = Checks()
    checks.project_id("project_id", "")
    checks.uuid("backup_id", "x", "BACKUP")
    assert refused(checks).specific_reason == "BACKUP_ID_MALFORMED"


def test_beyond_the_most_violations_only_a_number_is_reported() -> None:
    checks = Checks()
    checks.recipients("to", [f"bad {number}" for number in range(1000)], GIVER, 1000)
    violations = refused(checks).violations
    assert len(violations) == MOST_VIOLATIONS + 1
    assert violations[-1].description == f"{1000 - MOST_VIOLATIONS} more values are incorrect."


def test_as_many_violations_as_are_named_leave_no_others() -> None:
    checks = Checks()
    checks.recipients("to", [f"bad {number}" for number in range(MOST_VIOLATIONS)], GIVER, 1000)
    assert fields(checks) == [f"to[{number}]" for number in range(MOST_VIOLATIONS)]


def test_without_violations_the_checks_are_done() -> None:
    Checks().done()


def test_a_short_value_is_shown_whole() -> None:
    assert shown("a" * 40) == repr("a" * 40)


def test_a_long_value_is_shown_by_its_beginning() -> None:
    assert shown("a" * 41) == repr("a" * 37 + "...")


def test_wide_characters_are_shown_as_far_as_they_fit() -> None:
    assert shown("é" * 38) == repr("é" * 18 + "...")


def test_control_characters_are_shown_escaped() -> None:
    assert shown("a\r\nb\0") == r"'a\r\nb\x00'"


@given(st.text())
def test_whatever_is_shown_stays_short_on_the_wire(value: str) -> None:
    assert len(shown(value).encode()) <= 42
