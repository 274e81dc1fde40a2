"""Optimisations that the system refuses are logged, and the program goes on."""

from __future__ import annotations

import errno
import os
import sys

import pytest
import structlog

from programkit.process.scheduling import run, schedule_as_batch

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="scheduling policies are of Linux")


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS, errno.EINVAL])
@pytest.mark.parametrize("refused", ["sched_getscheduler", "sched_setscheduler"])
def test_a_refused_policy_is_one_line_in_the_log(monkeypatch: pytest.MonkeyPatch, refused: str, number: int) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_OTHER)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: None)
    monkeypatch.setattr(os, refused, refuse)
    with structlog.testing.capture_logs() as logged:
        schedule_as_batch()
    assert [(line["event"], line["what"], line["problem"]) for line in logged] == [
        ("optimisation refused", "SCHED_BATCH", os.strerror(number))
    ]


def test_a_policy_that_a_supervisor_has_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_BATCH)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *values: asked.append(values))
    schedule_as_batch()
    assert asked == []


def test_without_uvloop_the_program_runs_on_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    async def program() -> None:
        ran.append("ran")

    monkeypatch.setitem(sys.modules, "uvloop", None)
    with structlog.testing.capture_logs() as logged:
        run(program())
    assert ran == ["ran"]
    assert [line["what"] for line in logged] == ["uvloop"]
