"""The stages of a call."""

from __future__ import annotations

import pytest

from programkit.stages import Stages


def test_each_stage_begins_where_the_last_one_ended() -> None:
    stages = Stages()
    stages.end("one", stages.began + 0.001)
    stages.end("two", stages.began + 0.003)
    stages.end("one", stages.began + 0.007)
    assert [(stage.name, round((stage.ended - stage.began) * 1000)) for stage in stages.all()] == [
        *(("one", 1), ("two", 2), ("one", 4)),
    ]
    assert stages.milliseconds(stages.began + 0.0072) == pytest.approx({"one": 5.0, "two": 2.0})
    assert stages.milliseconds(stages.began + 0.017) == pytest.approx({"one": 5.0, "two": 2.0, "unfinished": 10.0})


def test_a_mark_from_before_the_last_one_takes_no_time() -> None:
    stages = Stages()
    stages.end("one", stages.began + 0.002)
    stages.end("two", stages.began + 0.001)
    assert stages.milliseconds(stages.began + 0.002) == pytest.approx({"one": 2.0, "two": 0.0})
