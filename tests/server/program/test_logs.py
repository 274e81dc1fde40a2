"""Lines of the log: JSON, one a line, of a bounded size, whatever is logged."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import structlog

from backup_sharing.logs import MOST_BYTES, LibraryLines, Lines

LogLines = Callable[[], list[dict[str, Any]]]

HOLDS_ITSELF: list[object] = []
HOLDS_ITSELF.append(HOLDS_ITSELF)


def only_line(log_lines: LogLines) -> dict[str, Any]:
    [line] = log_lines()
    assert len(orjson.dumps(line)) < MOST_BYTES
    return line


@pytest.mark.parametrize(
    "value",
    [
        "x" * 25_000_000,
        "\U0001f4be" * 1_000_000,
        "\0" * 100_000,
        ["x" * 64] * 400_000,
        [["deep"] * 1000] * 1000,
        {"key": "x" * 100_000},
        b"x" * 100_000,
        "\ud800",
        "\ud800" * 100_000,
        10**30,
        10**9000 // 7,
        HOLDS_ITSELF,
        object(),
        ValueError("x" * 100_000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_line_has_a_largest_size_whatever_the_value(log_lines: LogLines, value: object) -> None:
    structlog.get_logger("server").info("call", value=value, request_id="req-1", ms=1.5, count=7, reason=None)
    line = only_line(log_lines)
    told = {name: line[name] for name in ("event", "level", "request_id", "ms", "count", "reason")}
    assert told == {"event": "call", "level": "info", "request_id": "req-1", "ms": 1.5, "count": 7, "reason": None}
    assert line["value"]


class Shy:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_a_value_that_cannot_be_shown_stops_no_line(log_lines: LogLines) -> None:
    structlog.get_logger("server").info("call", value=Shy())
    assert only_line(log_lines)["value"] == "Shy"


def test_a_line_of_very_many_values_keeps_the_usual_ones(log_lines: LogLines) -> None:
    structlog.get_logger("server").warning("much", request_id="req-1", **{f"name-{n}": n for n in range(10_000)})
    line = only_line(log_lines)
    assert (line["event"], line["level"], line["request_id"]) == ("much", "warning", "req-1")


def test_a_long_exception_keeps_its_ends(log_lines: LogLines) -> None:
    try:
        raise ValueError("begins " + "x" * 1_000_000 + " ends")
    except ValueError:
        structlog.get_logger("server").exception("defect")
    line = only_line(log_lines)
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ends")


def deeper(left: int) -> None:
    if left % 2:
        deeper(left - 1)
    elif left:
        deeper(left - 1)  # from another line: equal lines of a stack trace are written once
    else:
        raise RuntimeError("the bottom")


def test_an_exception_of_very_many_frames_is_bounded(log_lines: LogLines) -> None:
    try:
        deeper(500)
    except RuntimeError:
        structlog.get_logger("server").exception("defect")
    assert only_line(log_lines)["exception"].endswith("RuntimeError: the bottom")


@pytest.fixture
def library_lines() -> Callable[[str], dict[str, Any]]:
    """What a library's record becomes."""

    def logged(text: str, error: BaseException | None = None) -> dict[str, Any]:
        written = io.BytesIO()
        record = logging.LogRecord("lib", logging.ERROR, "f.py", 1, "%s", (text,), error and (type(error), error, None))
        LibraryLines(Lines(written)).emit(record)
        assert written.getvalue().endswith(b"\n")
        assert len(written.getvalue()) <= MOST_BYTES
        line: dict[str, Any] = json.loads(written.getvalue())
        return line

    return logged


def test_what_libraries_log_is_bounded_too(library_lines: Callable[..., dict[str, Any]]) -> None:
    line = library_lines("Task exception: " + "x" * 1_000_000, ValueError("y" * 1_000_000))
    assert (line["level"], line["event"][:19], line["exception"][-3:]) == ("error", "Task exception: xxx", "yyy")


def test_what_libraries_log_may_be_no_unicode(library_lines: Callable[..., dict[str, Any]]) -> None:
    assert library_lines("\ud800")["event"] == "\\ud800"


def test_a_line_that_fits_is_written_as_it_is(log_lines: LogLines) -> None:
    names = [f"{number:064x}" for number in range(20)]
    structlog.get_logger("server").info("call", to_project_ids=names)
    assert only_line(log_lines)["to_project_ids"] == names
