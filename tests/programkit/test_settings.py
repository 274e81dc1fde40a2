"""Settings of a program outside this repository."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from programkit.settings import Names, ProgramSettings, is_host_and_port, is_on, load


class Settings(ProgramSettings):
    """Serve tea."""

    model_config = SettingsConfigDict(env_prefix="TEAPOT_", cli_prog_name="teapot")

    cups: int = Field(1, ge=1, description="how many")
    milk: bool = Field(False, description="whether there is milk in it")
    sorts: Names = Field([], description="of tea")
    jug: str | None = Field(None, description="where the milk is")

    @classmethod
    def incomplete(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if is_on(given.get("milk")) and not given.get("jug"):
            yield "jug", "is missing; there is no milk without it"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("TEAPOT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    def refused(*arguments: str) -> list[str]:
        with pytest.raises(SystemExit) as exit_:
            load(Settings, arguments, advice="not there")
        assert exit_.value.code == 2
        return capsys.readouterr().err.splitlines()

    return refused


def test_a_flag_wins_over_environment_and_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "teapot.toml").write_text("cups = 2\n")
    monkeypatch.setenv("TEAPOT_CONFIG", str(tmp_path / "teapot.toml"))
    assert load(Settings, []).cups == 2
    monkeypatch.setenv("TEAPOT_CUPS", "3")
    assert load(Settings, []).cups == 3
    assert load(Settings, ["--cups", "4"]).cups == 4


def test_names_come_one_by_one_or_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(Settings, ["--sorts", "green, black", "--sorts", "white"]).sorts == ["green", "black", "white"]
    monkeypatch.setenv("TEAPOT_SORTS", "green, black,")
    assert load(Settings, []).sorts == ["green", "black"]


def test_all_that_is_wrong_is_named(refused: Callable[..., list[str]], tmp_path: Path) -> None:
    path = tmp_path / "teapot.toml"
    path.write_text("sugar = 2\n")
    assert refused("--config", str(path), "--cups", "0", "--milk") == [
        "--cups (TEAPOT_CUPS): Input should be greater than or equal to 1, got '0'",
        f"{path}: sugar: there is no such setting",
        "--jug (TEAPOT_JUG): is missing; there is no milk without it",
    ]


def test_a_password_is_refused_with_the_programs_advice(refused: Callable[..., list[str]]) -> None:
    assert refused("--jug", "https://u:secret@kitchen") == ["--jug: not there"]


@pytest.mark.parametrize("value", ["localhost:1", "[::1]:65535", "127.0.0.1:0"])
def test_an_address_has_a_host_and_a_port(value: str) -> None:
    assert is_host_and_port(value)


@pytest.mark.parametrize("value", ["", "localhost", ":1", "localhost:", "localhost:65536", "localhost:x", "h:٣"])
def test_other_texts_are_no_address(value: str) -> None:
    assert not is_host_and_port(value)
