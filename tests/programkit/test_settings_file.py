"""A settings file of one program, or of two with a section each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from programkit.settings import ProgramSettings, load


class Server(ProgramSettings):
    """Serve tea."""

    model_config = SettingsConfigDict(env_prefix="TEAPOT_", cli_prog_name="teapot")
    section = "server"

    cups: int = Field(1, ge=1, description="how many")
    jug: str | None = Field(None, description="where the milk is")


class Gateway(Server):
    """Bring tea."""

    section = "gateway"


Write = Callable[[str | bytes], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.delenv("TEAPOT_CUPS", raising=False)

    def write(content: str | bytes) -> str:
        path = tmp_path / "tea.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], write: Write) -> Callable[..., list[str]]:
    """Load an invalid file; return the messages without the folder of the file."""

    def refused(content: str | bytes, *arguments: str) -> list[str]:
        path = write(content)
        with pytest.raises(SystemExit) as exit_:
            load(Server, ["--config", path, *arguments])
        assert exit_.value.code == 2
        return capsys.readouterr().err.replace(path, "tea.toml").splitlines()

    return refused


BOTH = "[server]\ncups = 2\n[gateway]\ncups = 3\n"


def test_each_program_reads_its_own_section(write: Write) -> None:
    path = write(BOTH)
    assert (load(Server, ["--config", path]).cups, load(Gateway, ["--config", path]).cups) == (2, 3)


def test_a_file_may_lack_the_section_of_a_program(write: Write) -> None:
    assert load(Server, ["--config", write("[gateway]\ncups = 3\nsugar = 1")]).cups == 1


def test_a_flat_file_is_for_the_program_that_reads_it(write: Write) -> None:
    path = write("cups = 4")
    assert (load(Server, ["--config", path]).cups, load(Gateway, ["--config", path]).cups) == (4, 4)


def test_the_order_of_sources_holds_for_sections(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(BOTH)
    monkeypatch.setenv("TEAPOT_CUPS", "5")
    assert load(Server, ["--config", path]).cups == 5
    assert load(Server, ["--config", path, "--cups", "6"]).cups == 6


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[server]\ncup = 1", "tea.toml: [server] cup: there is no such setting; did you mean cups?"),
        ("[server]\nsugar = 1", "tea.toml: [server] sugar: there is no such setting"),
        ("cup = 1", "tea.toml: cup: there is no such setting; did you mean cups?"),
        ("[servre]\ncups = 1", "tea.toml: [servre]: there is no such section; did you mean [server]?"),
        ("[tea]\ncups = 1", "tea.toml: [tea]: there is no such section"),
        ("server = 1", "tea.toml: [server] is not a table"),
        ("[[server]]\ncups = 1", "tea.toml: [server] is not a table"),
        (
            "cups = 1\n[server]",
            "tea.toml: cups: it stands outside of the sections; move it into [server] or [gateway]",
        ),
        ("[server]\nconfig = 'other.toml'", "tea.toml: [server] config: a file cannot name another file"),
        ("config = 'other.toml'", "tea.toml: config: a file cannot name another file"),
        ("[server.cups]\nmany = 1", "--cups (TEAPOT_CUPS): Input should be a valid integer, got {'many': 1}, in"),
        ("[server]\ncups = 1\n[server]", "--config: tea.toml: Cannot declare ('server',) twice"),
        (b"[server]\njug = '\xff'", "--config: tea.toml: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_mistake_names_file_section_and_key(refused: Callable[..., list[str]], content: str, said: str) -> None:
    lines = refused(content)
    assert len(lines) == 1
    assert lines[0].startswith(said)


def test_a_bad_value_names_its_place_only_if_it_came_from_there(refused: Callable[..., list[str]]) -> None:
    wrong = "--cups (TEAPOT_CUPS): Input should be greater than or equal to 1, got "
    assert refused("[server]\ncups = 0") == [f"{wrong}0, in tea.toml: [server] cups"]
    assert refused("[server]\ncups = 0", "--cups", "-1") == [f"{wrong}'-1'"]


def test_all_mistakes_of_all_sources_are_named_at_once(refused: Callable[..., list[str]]) -> None:
    lines = refused("[server]\ncups = 0\nsugar = 2\n[gatway]\n", "--cup", "3")
    assert [line.partition(": ")[0] for line in lines] == ["--cup", "tea.toml", "--cups (TEAPOT_CUPS)", "tea.toml"]


def test_a_password_in_a_key_is_not_repeated(refused: Callable[..., list[str]]) -> None:
    assert "hunter2" not in "".join(refused('[server]\n"postgresql://u:hunter2@h/db" = 1'))
