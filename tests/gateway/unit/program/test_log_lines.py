"""Lines of the log: one JSON object each, never large, and without what clients sent."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from restmap_gateway import logs
from restmap_gateway.sparing import Sparing

SECRET = "SeCrEt"


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.BytesIO]:
    """What is written, by a logger that is set up as in the program."""
    root, standing = logging.getLogger(), logging.getLogger().handlers[:]
    config = structlog.get_config()
    written = io.BytesIO()

    class Error:
        buffer = written

    monkeypatch.setattr("sys.stderr", Error())
    monkeypatch.setattr("atexit.register", lambda _: None)
    root.handlers[:] = []
    logs.configure("info")
    yield written
    root.handlers[:] = standing
    structlog.configure(**config)


def lines(file: io.BytesIO) -> list[dict[str, Any]]:
    raw = file.getvalue().splitlines()
    assert all(len(line) <= logs.MOST_BYTES for line in raw)
    return [json.loads(line) for line in raw]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("x" * 1_000_000, id="a long text"),
        pytest.param("\x00" * 1_000_000, id="a text that is longer in JSON"),
        pytest.param("\u00e4" * 1_000_000, id="not ASCII"),
        pytest.param("\udcff", id="no Unicode"),
        pytest.param(list(range(100_000)), id="a long list"),
        pytest.param({str(number): "x" for number in range(100_000)}, id="a large object"),
        pytest.param(10**400, id="a large number"),
        pytest.param(b"x" * 1_000_000, id="bytes"),
    ],
)
def test_a_line_has_a_largest_size_and_stays_json(file: io.BytesIO, value: object) -> None:
    structlog.get_logger("any").info("request", request_id="req-1", status=200, value=value)
    (line,) = lines(file)
    assert (line["event"], line["request_id"], line["status"]) == ("request", "req-1", 200)


def test_a_line_of_very_many_values_says_what_it_is_of(file: io.BytesIO) -> None:
    structlog.get_logger("any").info("request", request_id="req-1", **{f"value_{n}": "x" * 100 for n in range(1000)})
    (line,) = lines(file)
    assert (line["event"], line["request_id"], line["level"]) == ("request", "req-1", "info")


def test_a_short_line_is_as_it_was(file: io.BytesIO) -> None:
    structlog.get_logger("any").info("request", path="/v2/ä", status=200, reason=None)
    (line,) = lines(file)
    assert {"path": "/v2/ä", "status": 200, "reason": None, "event": "request", "level": "info"}.items() <= line.items()


def test_a_defect_is_told_by_where_it_is_and_not_by_its_text(file: io.BytesIO) -> None:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(f"no {SECRET}") from error
    except ValueError:
        structlog.get_logger("any").exception("defect", request_id="req-1")
    (line,) = lines(file)
    assert SECRET not in file.getvalue().decode()
    assert "ValueError" in line["exception"]
    assert "KeyError" in line["exception"]
    assert any("test_log_lines.py" in frame for frame in line["exception"])


def test_what_libraries_log_is_without_their_values(file: io.BytesIO) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", SECRET)
    logging.getLogger("asyncio").error(f"Task failed\nexception=ValueError({SECRET!r})")
    assert SECRET not in file.getvalue().decode()
    assert [line["event"] for line in lines(file)] == ["Error handling request from %s", "Task failed"]


async def test_what_the_event_loop_complains_of_is_not_quoted(file: io.BytesIO) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.complain)
    loop.call_exception_handler({"message": "Task failed", "exception": ValueError(SECRET), "future": SECRET})
    await asyncio.sleep(0)
    (line,) = lines(file)
    assert SECRET not in file.getvalue().decode()
    assert (line["message"], line["exception"]) == ("Task failed", ["ValueError"])


def test_lines_that_come_too_fast_are_counted_and_left_out() -> None:
    now = 0.0
    with structlog.testing.capture_logs() as logged:
        log = Sparing("any", burst=3, per_second=2.0, clock=lambda: now)
        for number in range(10):
            log.info("refused", number=number)
        now = 1.0
        log.info("refused", number=10)
        log.warning("refused", number=11)
        log.warning("refused", number=12)
    assert [line["number"] for line in logged] == [0, 1, 2, 10, 11]
    assert [line.get("left_out") for line in logged] == [None, None, None, 7, None]
