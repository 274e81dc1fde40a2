"""The page about log lines matches the code, and the lines that running programs write."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.system import Project, System
from tests.support.wire import Json

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference" / "logs.md").read_text(encoding="utf-8")
LEVELS = {"exception": "error"}
COMMON = {"event", "level", "time", "request_id", "trace_id", "span_id", "left_out", "logger", "exception"}

EXPANDED = {
    "call": {
        *(
            "code",
            "reason",
            "ms",
            "audit",
            "backup_id",
            "sharing_id",
            "recipients",
            "to_project_ids",
            "owner",
            "status",
            "validate_only",
        ),
        *("method", "project_id", "user_id", "client", "peer", "client_request_id"),
    },
    "call begins": {"method", "project_id", "user_id", "client", "peer", "client_request_id"},
    "serving": {"version", "grpc_listen", "tls", "identity"},
    "not serving": {"version", "grpc_listen", "tls", "identity"},
    "stream failed": {"reason", "cause"},
    "certificate": {"certificate", "files"},
}
"""Fields that the code takes from elsewhere, so that they are not in the call of the log."""

PASSES_ON = {"event", "values", "self._event"}
"""Arguments of functions that log what they are given."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One place that logs."""

    event: str
    level: str
    fields: frozenset[str]
    is_sentence: bool
    """Whether the standard library's `logging` writes it."""


def logging_calls(path: Path) -> Iterator[Logged]:
    source = path.read_text(encoding="utf-8")
    of_library = "_log = logging.getLogger(__name__)" in source
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        if any(keyword.arg == "unusable" for keyword in node.keywords):
            yield from lines_of_files(node)
        if not isinstance(node.func, ast.Attribute):
            continue
        level, owner, said = node.func.attr, ast.unparse(node.func.value), node.args[0]
        if owner == "self" and level == "_write" and len(node.args) == 2:
            said, level = node.args[1], "info"  # the lines of a call
        elif level not in ("debug", "info", "warning", "error", "exception", "critical") or "log" not in owner.lower():
            continue
        if isinstance(said, ast.Constant):
            fields = frozenset(keyword.arg for keyword in node.keywords if keyword.arg) - {"exc_info"}
            is_sentence = of_library and owner == "_log"
            yield Logged(str(said.value), LEVELS.get(level, level), fields, is_sentence)
        else:
            assert ast.unparse(said) in PASSES_ON, f"{path}: {ast.unparse(node)}"


def lines_of_files(node: ast.Call) -> Iterator[Logged]:
    """Return what `programkit.watched_files.WatchedFiles` logs with the event that it is given."""
    event = ast.literal_eval(node.args[1])
    given = [keyword.value for keyword in node.keywords if keyword.arg == "logged"]
    keys = {str(ast.literal_eval(key)) for one in given if isinstance(one, ast.Dict) for key in one.keys if key}
    yield Logged(event, "info", frozenset(keys or {"files"}), is_sentence=False)
    yield Logged(event, "error", frozenset({"problem"}), is_sentence=False)


CODE = [
    logged
    for folder in ("server/backup_sharing", "gateway", "protos/restmap/multiplexing")
    for path in sorted((ROOT / folder).rglob("*.py"))
    for logged in logging_calls(path)
]


def rows(heading: str) -> list[list[str]]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def quoted(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]*)`", cell))


def documented() -> Mapping[str, tuple[set[str], set[str]]]:
    """Return the levels and the fields of each event."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for event, _, levels, *fields in rows("Events"):
        known = found.setdefault(event.strip("`"), (set(), set()))
        known[0].update(levels.split(", "))
        known[1].update(quoted(" ".join(fields)))
    return found


FIELDS = {field.strip("`"): kind for field, kind, *_ in rows("Fields")}
SENTENCES = {(event.strip("`"), level) for event, level in rows("Messages")}
KINDS: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "null": (type(None),),
    "true or false": (bool,),
    "list of text": (list,),
    "object of number": (dict,),
}


def test_every_event_is_documented_with_its_fields_and_levels() -> None:
    for event, (levels, fields) in documented().items():
        places = [one for one in CODE if one.event == event and not one.is_sentence]
        assert places, f"no code logs {event!r}"
        logged = set().union(*(one.fields for one in places)) | EXPANDED.get(event, set())
        assert fields - COMMON == logged - COMMON, event
        assert levels == {one.level for one in places}, event


def test_the_code_logs_no_other_event() -> None:
    assert {one.event for one in CODE if not one.is_sentence} == set(documented())


def test_every_sentence_is_documented_and_no_other() -> None:
    assert {(one.event, one.level) for one in CODE if one.is_sentence} == SENTENCES


def test_every_field_is_explained_and_none_is_made_up() -> None:
    used = set().union(*(fields for _, fields in documented().values())) | COMMON
    assert set(FIELDS) == used
    assert {kind for kind in FIELDS.values() if not kinds_of(kind)} == set()


def test_fields_that_the_code_expands_are_in_the_code() -> None:
    sources = [path.read_text("utf-8") for folder in ("server", "gateway") for path in (ROOT / folder).rglob("*.py")]
    text = "\n".join(sources)
    for name in set().union(*EXPANDED.values()):
        assert re.search(rf'"{name}"|\b{name}=', text), name


def test_every_stage_is_documented_and_no_other() -> None:
    sources = [path.read_text("utf-8") for folder in ("server", "gateway") for path in (ROOT / folder).rglob("*.py")]
    ended = set(re.findall(r'stages\.end\("(\w+)"', "\n".join(sources)))
    of_batch = {"lock", "decision", "commit"}  # in a loop of `BatchTimes.add_to`
    assert {stage.strip("`") for stage, *_ in rows("Stages of a slow call")} == ended | of_batch | {"unfinished"}


def kinds_of(kind: str) -> tuple[type, ...]:
    parts = [kind] if kind in KINDS else kind.split(" or ")
    return tuple(one for part in parts for one in KINDS.get(part, ()))


def is_of_kind(value: Json, kind: str) -> bool:
    return isinstance(value, kinds_of(kind)) and (not isinstance(value, bool) or "true" in kind)


async def test_lines_of_running_programs_follow_the_page(system: System, giver: Project, recipient: Project) -> None:
    backup_id = system.put_backup(giver)
    for _ in range(2):  # a success, and a failure
        await system.share(giver, backup_id, recipient.id, traceparent=f"00-{giver.id}-b7ad6b7169203331-01")
    known = documented()
    for program in (system.server, system.gateway):
        lines = [json.loads(line) for line in program.wait_for(giver.id).splitlines()]
        assert lines[0]["event"] in ("serving", "server")
        for line in lines:
            levels, fields = known[line["event"]]
            assert line["level"] in levels
            assert set(line) <= fields | COMMON, line
            assert [name for name, value in line.items() if not is_of_kind(value, FIELDS[name])] == [], line


@pytest.fixture(scope="session")
def system(request: pytest.FixtureRequest) -> System:
    found: System = request.getfixturevalue("sqlite_system")
    return found


@pytest.fixture
def giver(system: System) -> Project:
    return system.new_project()


@pytest.fixture
def recipient(system: System) -> Project:
    return system.new_project()
