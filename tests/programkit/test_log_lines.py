"""Log lines: one JSON object each, of bounded size, without data that clients sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from programkit import logs

LogLines = Callable[[], list[dict[str, Any]]]

SECRET = "SeCrEt"
HOLDS_ITSELF: list[object] = []
HOLDS_ITSELF.append(HOLDS_ITSELF)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("x" * 25_000_000, id="a long text"),
        pytest.param("\U0001f4be" * 1_000_000, id="not ASCII"),
        pytest.param("\u00e4" * 1_000_000, id="Latin"),
        pytest.param("\0" * 1_000_000, id="a text that is longer in JSON"),
        pytest.param(["x" * 64] * 400_000, id="a long list"),
        pytest.param(list(range(100_000)), id="a list of numbers"),
        pytest.param([["deep"] * 1000] * 1000, id="a list of lists"),
        pytest.param({"key": "x" * 100_000}, id="an object"),
        pytest.param({str(number): "x" for number in range(100_000)}, id="a large object"),
        pytest.param(b"x" * 1_000_000, id="bytes"),
        pytest.param("\ud800", id="no Unicode"),
        pytest.param("\udcff", id="an undecoded byte"),
        pytest.param("\ud800" * 100_000, id="much that is no Unicode"),
        pytest.param(10**30, id="a large number"),
        pytest.param(10**400, id="a larger number"),
        pytest.param(10**9000 // 7, id="a number too large to show"),
        pytest.param(HOLDS_ITSELF, id="a list that holds itself"),
        pytest.param(object(), id="an object of Python"),
        pytest.param(ValueError("x" * 100_000), id="an exception"),
    ],
)
def test_a_line_has_a_largest_size_whatever_the_value(log_lines: LogLines, value: object) -> None:
    structlog.get_logger("any").info("call", value=value, request_id="req-1", ms=1.5, count=7, reason=None)
    [line] = log_lines()
    printed = {name: line[name] for name in ("event", "level", "request_id", "ms", "count", "reason")}
    assert printed == {"event": "call", "level": "info", "request_id": "req-1", "ms": 1.5, "count": 7, "reason": None}
    assert line["value"]


class Shy:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_a_value_that_cannot_be_shown_stops_no_line(log_lines: LogLines) -> None:
    structlog.get_logger("any").info("call", value=Shy())
    [line] = log_lines()
    assert line["value"] == "Shy"


@pytest.mark.parametrize("values", [{f"n-{n}": n for n in range(10_000)}, {f"v_{n}": "x" * 100 for n in range(1000)}])
def test_a_line_of_very_many_values_keeps_the_usual_ones(log_lines: LogLines, values: dict[str, object]) -> None:
    structlog.get_logger("any").warning("much", request_id="req-1", **values)
    [line] = log_lines()
    assert (line["event"], line["level"], line["request_id"]) == ("much", "warning", "req-1")


def test_a_line_that_fits_is_written_as_it_is(log_lines: LogLines) -> None:
    names = [f"{number:064x}" for number in range(20)]
    structlog.get_logger("any").info("request", path="/v2/ä", status=200, reason=None, to_project_ids=names)
    [line] = log_lines()
    written = {"path": "/v2/ä", "status": 200, "reason": None, "event": "request", "level": "info"}
    assert {name: line[name] for name in written} == written
    assert line["to_project_ids"] == names


def test_a_long_value_keeps_its_ends(log_lines: LogLines) -> None:
    structlog.get_logger("any").info("call", value="begins " + "x" * 1_000_000 + " ends")
    [line] = log_lines()
    assert line["value"].startswith("begins")
    assert line["value"].endswith("ends")


def test_a_defect_is_told_by_where_it_is_not_by_its_text(log_lines: LogLines) -> None:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(f"no {SECRET}" + "x" * 1_000_000) from error
    except ValueError:
        structlog.get_logger("any").exception("defect", request_id="req-1")
    [line] = log_lines()
    assert SECRET not in str(line)
    assert line["exception"][0] == "ValueError"
    assert "KeyError" in line["exception"]
    assert any("test_log_lines.py" in frame for frame in line["exception"])


@pytest.mark.parametrize("given", ["error", True])
def test_an_exception_is_named_as_it_was_given(log_lines: LogLines, given: object) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        structlog.get_logger("any").error("defect", exc_info=error if given == "error" else given)
    structlog.get_logger("any").error("no defect", exc_info=True)
    defect, no_defect = log_lines()
    assert defect["exception"][0] == "ValueError"
    assert "exception" not in no_defect


def deeper(left: int) -> None:
    if left % 2:
        deeper(left - 1)
    elif left:
        deeper(left - 1)  # on another line: a traceback shows repeated lines only once
    else:
        raise RuntimeError("the bottom")


def test_an_exception_of_very_many_frames_is_bounded(log_lines: LogLines) -> None:
    try:
        deeper(500)
    except RuntimeError:
        structlog.get_logger("any").exception("defect")
    [line] = log_lines()
    assert line["exception"][0] == "RuntimeError"
    assert line["exception"][1].endswith("deeper")


def test_what_libraries_log_is_without_their_values(log_lines: LogLines) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", SECRET)
    logging.getLogger("asyncio").error(f"Task failed\nexception=ValueError({SECRET!r})")
    logging.getLogger("owner").error("%s", SECRET)
    lines = log_lines()
    assert SECRET not in str(lines)
    assert [line["event"] for line in lines] == ["Error handling request from %s", "Task failed", "%s"]
    assert [line["logger"] for line in lines] == ["aiohttp.server", "asyncio", "owner"]


def test_what_the_own_packages_log_is_written_whole(log_lines: LogLines) -> None:
    try:
        raise OSError("disk full")
    except OSError:
        logging.getLogger("own.store").exception("the log had grown to %d MiB", 64)
    [line] = log_lines()
    assert (line["level"], line["event"]) == ("error", "the log had grown to 64 MiB")
    assert line["exception"][0] == "OSError: disk full"


def test_what_is_logged_through_the_library_is_bounded(log_lines: LogLines) -> None:
    for name, text in (("own", "Task exception: %s"), ("lib", "Task exception: " + "x" * 1_000_000)):
        error = ValueError("y" * 1_000_000)
        args = ("x" * 1_000_000,) if "%s" in text else ()
        logging.getLogger(name).error(text, *args, exc_info=error)
    own, lib = log_lines()
    assert own["event"][:19] == lib["event"][:19] == "Task exception: xxx"
    assert own["exception"][0][-3:] == "yyy"
    assert lib["exception"] == ["ValueError"]


@pytest.mark.parametrize("name", ["own", "lib"])
def test_what_is_logged_through_the_library_may_be_no_text(log_lines: LogLines, name: str) -> None:
    logging.getLogger(name).error("\ud800")
    [line] = log_lines()
    assert line["event"] == "\\ud800"


async def test_what_the_event_loop_complains_of_is_not_quoted(log_lines: LogLines) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.complaints_of("any"))
    loop.call_exception_handler({"message": "Task failed", "exception": ValueError(SECRET), "future": SECRET})
    await asyncio.sleep(0)
    [line] = log_lines()
    assert SECRET not in str(line)
    assert (line["message"], line["exception"]) == ("Task failed", ["ValueError"])


def test_a_filter_or_a_level_silences_records(log_lines: LogLines) -> None:
    logs.configure("info", most_bytes=4096, filters={"any.lib": lambda _: False}, levels={"any.other": logging.ERROR})
    logging.getLogger("any.lib").error("departed")
    logging.getLogger("any.other").warning("as it should")
    logging.getLogger("any.other").error("failed")
    assert [line["event"] for line in log_lines()] == ["failed"]
