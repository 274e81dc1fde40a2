"""Man pages and shell completions."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

manual = pytest.importorskip("docs.manual", reason="the tools for manuals are not installed")

# click-man 0.6 calls a function that click 9 will not have.
pytestmark = pytest.mark.filterwarnings("ignore:'click.utils.make_default_short_help' is deprecated")

PROGRAMS = ("backup-sharing-server", "backup-sharing-gateway")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manual")
    manual.write(folder)
    return folder


@pytest.mark.parametrize("page", ["backup-sharing.1", *(f"{program}.8" for program in PROGRAMS)])
def test_each_program_has_a_man_page(built: Path, page: str) -> None:
    assert (built / "man" / page).read_text(encoding="utf-8").startswith(".TH")


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_man_pages_render_without_warnings(built: Path) -> None:
    pages = sorted((built / "man").iterdir())
    assert len(pages) > len(PROGRAMS)
    # -ww: all warnings; -z: no output.
    command = ["groff", "-man", "-Kutf8", "-Tutf8", "-ww", "-z", *map(str, pages)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""


@pytest.mark.parametrize("program", ["backup-sharing", *PROGRAMS])
@pytest.mark.parametrize(("shell", "name"), [("bash", "{}"), ("zsh", "_{}"), ("fish", "{}.fish")])
def test_each_program_has_completions(built: Path, program: str, shell: str, name: str) -> None:
    script = (built / "completions" / shell / name.format(program)).read_text(encoding="utf-8")
    assert program in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--on-con"], ["--on-conflict"]),
        (["--on-conflict", ""], ["refuse", "return"]),
        (["--no-mig"], ["--no-migrate"]),
    ],
)
def test_bash_completes_flags_and_choices(built: Path, words: list[str], expected: list[str]) -> None:
    program = "backup-sharing-server"
    script = f"""
        source "$1"; shift
        COMP_WORDS=({program} "$@"); COMP_CWORD=$#
        $(complete -p {program} | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        echo "${{COMPREPLY[@]}}"
    """
    command = ["bash", "-c", script, "bash", str(built / "completions" / "bash" / program), *words]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == expected
