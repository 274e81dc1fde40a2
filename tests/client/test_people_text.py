"""Tables for a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backupsharing.commands.text import fits, moment, records, table, visible


def test_columns_are_aligned_for_wide_and_zero_width_characters() -> None:
    rows = [("備份", 5), ("e\u0301e\u0301", 10), ("abcd", None)]
    assert table(("NAME", "GIB"), rows).splitlines() == ["NAME  GIB", "備份  5", "e\u0301e\u0301    10", "abcd"]


def test_numbers_are_aligned_to_the_right() -> None:
    assert table(("A", "GIB"), [("x", 5), ("y", 1000)]).splitlines() == ["A   GIB", "x     5", "y  1000"]


@pytest.mark.parametrize(
    ("text", "shown"), [("\x1b[2J", "\\x1b[2J"), ("a\nb", "a\\nb"), ("\u202e", "\\u202e"), ("naïve 備", "naïve 備")]
)
def test_nothing_in_a_table_is_obeyed_by_a_terminal(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert table(("NAME",), [(text,)]).splitlines() == ["NAME", shown]
    assert shown in records(("NAME",), [(text,)])


def test_a_narrow_terminal_gets_a_line_for_each_value() -> None:
    assert fits("abc\nde", 3)
    assert not fits("備份", 3)
    assert records(("A", "LONG"), [("x", 1), ("y", None)]) == "A     x\nLONG  1\n\nA     y\nLONG  "


def test_a_time_is_shown_to_the_second() -> None:
    assert moment(datetime(2017, 8, 8, 4, 3, 27, 999999, UTC)) == "2017-08-08 04:03:27"
    assert moment(None) == ""
