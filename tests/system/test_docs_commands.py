"""Every shell and Python block of README and docs works as its page says, in the order of the page.

A comment before a block changes how the block is run; each comment gives a reason:

- ``<!-- not run: ... -->``: the block needs something that a test does not have, or another test runs it.
- ``<!-- fails: ... -->``: the block shows a failure, so its exit code must not be 0.
- ``<!-- keeps running: ... -->``: the block starts a program, which runs until the end of the page.
- ``<!-- setup: COMMAND -->``: a command that the reader has run before.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from tests.support.ports import free_address
from tests.support.programs import PATIENCE, ROOT, environment

pytestmark = pytest.mark.outside

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*/README.md"))]
DIRECTIVES = ("not run", "fails", "keeps running", "setup")
_BLOCK = re.compile(r"((?:^<!-- [^\n]* -->\n)*)^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ADDRESS = re.compile(r"\b(?:127\.0\.0\.1|0\.0\.0\.0|localhost):(8080|8081|9151|9152|50051|50052|8443)\b")
_FOLDER = re.compile(r"/(?:etc|var/lib)/backup-sharing\b")
_INSTALLED = re.compile(r"/opt/backup-sharing/bin/(?=backup-sharing)")
READY = ('"event":"serving"', "Ctrl-C stops it")
"""Output of our programs once they accept calls."""


@dataclass(frozen=True, slots=True)
class Block:
    """Block of a page, with its preceding comments by directive."""

    language: str
    text: str
    line: int
    directives: dict[str, str]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        comments = re.findall(r"<!-- ([^:]+): (.*) -->", match[1])
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(match[2], match[3], line, dict(comments)))
    return found


def is_run(block: Block) -> bool:
    return "not run" not in block.directives


RUN = [page for page in PAGES if any(map(is_run, blocks_of(page)))]


@dataclass(slots=True)
class Reader:
    """Reader who pastes the blocks of a page into one terminal, in an empty folder with our programs on the PATH."""

    folder: Path
    addresses: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        (self.folder / ".venv").symlink_to(sys.prefix)
        # An HTTP failure makes curl fail too.
        (self.folder / ".curlrc").write_text("fail-with-body\n", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)

    def address(self, port: str) -> str:
        """Return the free address that replaces a port of the page, the same for the whole page."""
        return self.addresses.setdefault(port, free_address())

    def here(self, text: str) -> str:
        """Return the text with free addresses, folders in ours, and the installed programs of the tests."""
        demo = f"backup-sharing demo --listen {self.address('8080')} --grpc-listen {self.address('50051')}"
        demo += f" --admin-listen {self.address('8081')} --grpc-admin-listen {self.address('50052')}"
        text = _FOLDER.sub(lambda found: f"{self.folder}{found[0]}", _INSTALLED.sub("", text))
        text = re.sub(r"^(?:make run|backup-sharing demo)$", demo, text, flags=re.MULTILINE)
        return _ADDRESS.sub(lambda match: self._same_host(match[0], match[1]), text)

    def _same_host(self, named: str, port: str) -> str:
        address = self.address(port)
        return address.replace("127.0.0.1", "localhost") if named.startswith("localhost") else address

    def variables(self) -> dict[str, str]:
        ours = environment()
        path = os.pathsep.join((str(Path(sys.executable).parent), ours["PATH"]))
        return {
            **ours,
            "PATH": path,
            "CURL_HOME": str(self.folder),
            "BACKUP_SHARING_SERVER": self.address("50051"),
        }

    def paste(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Run a block to its end; its variables are available to later blocks."""
        text = self.here(block.text)
        if block.language == "python":
            (self.folder / "block.py").write_text(text, encoding="utf-8")
            text = "python block.py\n"
        script = f"set -euo pipefail\n[ ! -f .state ] || . ./.state\nset -a\n{text}export -p > .state\n"
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,  # a block has several commands
            check=False,
        )

    def start(self, text: str) -> None:
        """Start the only command of a block; wait until the program accepts calls."""
        log = self.folder / f"{len(self.running)}.log"
        script = f"[ ! -f .state ] || . ./.state\nexec {self.here(text)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", script], cwd=self.folder, env=self.variables(), stdout=out, stderr=out
            )
        self.running.append(process)
        until = time.monotonic() + PATIENCE
        while not any(text in log.read_text(encoding="utf-8") for text in READY):
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < until, log.read_text(encoding="utf-8")
            time.sleep(0.05)


def needs_the_demo(blocks: list[Block]) -> bool:
    starts_its_own = any("keeps running" in block.directives for block in blocks)
    return not starts_its_own and any("demo-" in block.text or ":8081" in block.text for block in blocks)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of one demo, by the ports that pages mention; each page cancels the sharings that it creates."""
    with Reader(tmp_path_factory.mktemp("demo"), {}) as reader:
        reader.start("make run")
        yield reader.addresses


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_blocks_of_a_page_do_what_it_says(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    blocks = [block for block in blocks_of(page) if is_run(block)]
    with Reader(tmp_path, request.getfixturevalue("demo") if needs_the_demo(blocks) else {}) as reader:
        for block in blocks:
            if setup := block.directives.get("setup"):
                assert reader.paste(Block("sh", f"{setup}\n", block.line, {})).returncode == 0
            if "keeps running" in block.directives:
                reader.start(block.text)
                continue
            done = reader.paste(block)
            said = f"{page}:{block.line}\n{done.stdout}\n{done.stderr}"
            assert (done.returncode != 0) == ("fails" in block.directives), said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_comments_before_blocks_are_understood(page: Path) -> None:
    for block in blocks_of(page):
        assert set(block.directives) <= set(DIRECTIVES), f"{page}:{block.line}"
        assert all(block.directives.values()), f"{page}:{block.line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_shell_block_of_a_page_is_found(page: Path) -> None:
    fences = re.findall(r"^\s*```(?:sh|bash|shell|console|python)\b", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(blocks_of(page)) == len(fences)


def test_make_run_is_the_command_that_the_pages_are_run_with() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^run: .*\n\t@exec \$\(BIN\)/backup-sharing demo \$\(ARGS\)$", makefile, re.MULTILINE)
