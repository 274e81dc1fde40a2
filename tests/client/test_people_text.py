"""Tables for a terminal."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from backupsharing.commands.text import fits, moment, records, table, visible


def test_columns_are_aligned_for_wide_and_zero_width_characters() -> None:
    rows = [("備份", 5), ("e\u0301e\u0301", 10), ("abcd", None)]
    assert table(("NAME", "GIB"), rows).splitlines() == ["NAME  GIB", "備份  5", "e\u0301e\u0301    10", "abcd"]


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", 2),
        ("\U0001f1e9\U0001f1ea", 2),
        ("\u2764\ufe0f", 2),
        ("\U0001f44d\U0001f3fd", 2),
        ("\u1112\u1161\u11ab", 2),
    ],
)
def test_characters_that_are_shown_as_one_have_the_width_of_one(name: str, columns: int) -> None:
    header, line = table(("N", "GIB"), [(name, 5)]).splitlines()
    assert header == f"{'N':<{columns}}  GIB"
    assert line == f"{name}    5"
    assert fits(name, columns)
    assert not fits(name, columns - 1)


@pytest.mark.parametrize("text", ["a\u200db", "\u200d", "\u5099\u200d", "\u200d\u5099", "\u5099\u200da"])
def test_a_joiner_that_joins_nothing_is_escaped(text: str) -> None:
    assert visible(text) == text.replace("\u200d", "\\u200d")


def test_without_the_extra_columns_are_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wcwidth", None)
    assert table(("NAME", "GIB"), [("\u5099\u4efd", 5)]).splitlines() == ["NAME  GIB", "\u5099\u4efd    5"]


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


HEAVY = [
    *("aiohttp", "keystoneauth1", "openstack", "orjson", "psycopg", "pydantic", "sqlite_utils", "structlog"),
    "wcwidth",
]
"""Packages of the service, and those that few calls need: each takes a tenth of a second to import, or more."""

LISTED = f"""
import contextlib, sys
from backupsharing.commands.program import main
with contextlib.suppress(SystemExit):
    main(["list", "--help"])
sys.exit([name for name in {HEAVY} if name in sys.modules] or None)
"""


def test_a_command_for_people_imports_nothing_it_does_not_need() -> None:
    done = subprocess.run([sys.executable, "-c", LISTED], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "List the sharings" in done.stdout
