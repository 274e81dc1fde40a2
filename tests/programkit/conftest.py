"""The log as a program configures it."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from programkit import logs

LogLines = Callable[[], list[dict[str, Any]]]

MOST_BYTES = 4096


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[LogLines]:
    """Capture the log from now on, configured with ``own`` as the program's package; yield a function that reads it."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    written = io.BytesIO()
    stderr = io.TextIOWrapper(written)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stderr)
        root.handlers[:] = []
        lines = logs.configure("info", most_bytes=MOST_BYTES, own="own")

    def read() -> list[dict[str, Any]]:
        lines.flush()
        raw = written.getvalue().splitlines()
        assert all(len(line) < MOST_BYTES for line in raw)
        return [json.loads(line) for line in raw]

    yield read
    root.handlers[:] = before
    structlog.reset_defaults()
    stderr.close()
