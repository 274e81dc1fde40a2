"""SIGHUP: what is reloaded, and what fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog
from pydantic_settings import SettingsConfigDict

from programkit import logs, settings
from programkit.process.lifetime import Lifetime
from programkit.process.reloads import CannotReload, LogLevel, Reloads, in_place

PATIENCE = 30.0


class Settings(settings.ProgramSettings):
    """Settings of a program."""

    model_config = SettingsConfigDict(env_prefix="CARE_", cli_prog_name="care")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    limit: int = 5


def failing() -> str:
    raise CannotReload("c.pem: is no certificate")


async def test_what_fails_keeps_the_others_from_nothing() -> None:
    reloads, ran = Reloads(), list[str]()
    reloads.add("certificate", in_place(failing))
    reloads.add("tokens", in_place(lambda: ran.append("tokens") or "3 tokens"))
    with structlog.testing.capture_logs() as logged:
        await reloads.run()
    assert ran == ["tokens"]
    assert logged == [
        {
            "event": "reload",
            "reloaded": ["tokens: 3 tokens"],
            "failed": ["certificate: c.pem: is no certificate; the old state stays in force"],
            "log_level": "error",
        }
    ]


async def test_a_reload_of_everything_is_one_line() -> None:
    reloads = Reloads()
    reloads.add("certificate", in_place(lambda: "c.pem"))
    with structlog.testing.capture_logs() as logged:
        await reloads.run()
    assert logged == [{"event": "reload", "reloaded": ["certificate: c.pem"], "log_level": "info"}]


class Level:
    """The log level of a program with a file of settings."""

    def __init__(self, file: Path, *flags: str) -> None:
        self.file = file
        self.write('log_level = "info"')
        arguments = ["--config", str(file), *flags]
        started = settings.load(Settings, arguments)
        self.reload = LogLevel(
            started, lambda: settings.load(Settings, arguments), lambda loaded: loaded.log_level
        ).reload

    def write(self, text: str) -> None:
        self.file.write_text(text)


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    levels: list[str] = []
    monkeypatch.setattr(logs, "change_level", levels.append)
    return levels


async def test_the_level_follows_the_file(tmp_path: Path, applied: list[str]) -> None:
    level = Level(tmp_path / "c.toml")
    level.write('log_level = "debug"')
    assert await level.reload() == "debug"
    assert applied == ["debug"]


async def test_a_flag_wins_over_the_file_also_when_reloaded(tmp_path: Path, applied: list[str]) -> None:
    level = Level(tmp_path / "c.toml", "--log-level", "error")
    level.write('log_level = "debug"')
    assert await level.reload() == "error"


@pytest.mark.parametrize("text", ['log_level = "loud"', "log_level =", "lgo_level = 1", "\0", "limit = 'x'"])
async def test_a_broken_file_leaves_the_level(
    tmp_path: Path, applied: list[str], capsys: pytest.CaptureFixture[str], text: str
) -> None:
    level = Level(tmp_path / "c.toml")
    level.write(text)
    with pytest.raises(CannotReload, match=r"\w"):
        await level.reload()
    assert applied == []
    assert capsys.readouterr().err == ""


async def test_a_file_that_is_gone_is_named(tmp_path: Path, applied: list[str]) -> None:
    level = Level(tmp_path / "c.toml")
    level.file.unlink()
    with pytest.raises(CannotReload, match=r"c\.toml: No such file"):
        await level.reload()


async def test_what_only_a_restart_applies_is_named(tmp_path: Path, applied: list[str]) -> None:
    level = Level(tmp_path / "c.toml")
    level.write("limit = 6")
    assert await level.reload() == "info; restart to apply limit"


def test_a_changed_level_counts_for_loggers_in_use(log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    log = structlog.get_logger("any")
    for number, level in enumerate(["info", "debug", "error", "warning", "info"]):
        if number:
            logs.change_level(level)
        for method in ("debug", "info", "warning", "error"):
            getattr(log, method)("said", at=level, by=method)
    said = [f"{line['at']} {line['by']}" for line in log_lines()]
    order = ["debug", "info", "warning", "error"]
    expected = [
        f"{level} {method}"
        for level in ["info", "debug", "error", "warning", "info"]
        for method in order[order.index(level) :]
    ]
    assert said == expected


class Counted:
    """A part that counts its reloads."""

    def __init__(self) -> None:
        self.times = 0
        self.changed = asyncio.Condition()

    async def reload(self) -> str:
        async with self.changed:
            self.times += 1
            self.changed.notify_all()
        return "counted"

    async def reach(self, times: int) -> None:
        async with self.changed, asyncio.timeout(PATIENCE):
            await self.changed.wait_for(lambda: self.times >= times)


@pytest.fixture
async def part() -> Counted:
    return Counted()


@pytest.fixture
async def program(part: Counted) -> AsyncIterator[Lifetime]:
    lifetime = Lifetime()
    lifetime.reloads.add("part", part.reload)
    yield lifetime
    lifetime.drains()


async def turns() -> None:
    """Let all that is ready on the event loop run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_hangup_reloads(program: Lifetime, part: Counted) -> None:
    program.serves()
    program.hang_up()
    await part.reach(1)
    program.hang_up()
    await part.reach(2)


async def test_a_hangup_of_the_start_reloads_once_it_serves(program: Lifetime, part: Counted) -> None:
    program.hang_up()
    await turns()
    assert part.times == 0
    program.serves()
    await part.reach(1)


async def test_hangups_at_once_are_one_reload(program: Lifetime, part: Counted) -> None:
    program.serves()
    for _ in range(1000):
        program.hang_up()
    await part.reach(1)
    await turns()
    assert part.times == 1


async def test_a_hangup_while_it_drains_does_nothing(program: Lifetime, part: Counted) -> None:
    program.serves()
    program.drains()
    program.hang_up()
    await turns()
    assert part.times == 0
