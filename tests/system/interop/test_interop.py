"""Evaluation of rows in `make interop`; `make test` does not run the rows themselves."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.system.interop import __main__, plugins
from tests.system.interop.__main__ import BEGIN, END, Result, rows, run, table, unexpected, with_table
from tests.system.interop.renamed import FIELD, NEW_NAME, renamed
from tests.system.interop.rows import RENAMED_FIELD, ClientFailed, Place, Row, check_scenario
from tests.system.interop.stubs import IMAGE
from tests.system.interop.tamper import TAMPERINGS

PLACE = Place(*("nowhere",) * 11)
SCENARIO = """put 066b1e37-9305-4057-97e5-2e99b21fc71d
shared 2
conflict ALREADY_SHARED BackupSharing.0002
listed 3 in 2 pages
checked yes
cancelled 1
gone SHARING_NOT_FOUND
watched cancelled
"""


def row(*, missing: str = "", fails: str = "", notices: str = "time") -> Row:
    def build_and_run(place: Place) -> None:
        if fails:
            raise ClientFailed(fails)

    return Row(
        "Abacus", "REST", "beads", lambda: missing, lambda: None, build_and_run, frozenset({notices}), lambda: "9"
    )


def test_a_client_that_cannot_run_here_is_skipped_and_says_why() -> None:
    result = run(row(missing="abacus not installed", fails="never run"), PLACE)
    assert (result.result, result.skipped) == ("skipped: abacus not installed", True)


def test_what_a_client_complains_of_is_kept() -> None:
    result = run(row(fails="saw a bead too many"), PLACE)
    assert (result.result, result.said) == ("FAILED", "saw a bead too many")


def test_a_plugin_is_reinstalled_for_another_release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    installed: list[str] = []
    installer = plugins.Installer("python3", lambda: installed.append(releases.read_text()), str(releases))
    monkeypatch.setattr(plugins, "INSTALLERS", {"abacus": installer})
    monkeypatch.setattr(plugins, "TOOLS", tmp_path)
    monkeypatch.setattr(plugins, "BIN", tmp_path)
    monkeypatch.setattr(plugins, "absent", lambda _: [])
    for release in ("1", "1", "2"):
        releases.write_text(release)
        assert plugins.main() == 0
    assert installed == ["1", "2"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((), ["quick"]), (("--all",), ["quick", "slow"]), (("--only", "slow"), ["slow"])],
)
def test_clients_with_long_builds_run_only_on_request(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: list[str]
) -> None:
    built: list[str] = []
    made = [
        replace(row(), name=name, rarely=name == "slow", build=partial(built.append, name))
        for name in ("quick", "slow")
    ]
    monkeypatch.setattr(__main__, "rows", lambda: made)
    monkeypatch.setattr(__main__, "_generated", lambda _: nullcontext())
    monkeypatch.setattr(__main__, "running_place", lambda _: nullcontext(PLACE))
    assert __main__.main(arguments) == 0
    assert built == expected


def test_ten_generators_make_clients_and_one_of_them_always() -> None:
    made = [row for row in rows() if row.what.startswith("generated from OpenAPI")]
    assert len({row.name.partition(",")[0] for row in made}) >= 10
    assert len([row for row in made if "OpenAPI 3.0" in row.what]) >= 2
    assert [row.name for row in made if not row.rarely] == ["openapi-python-client"]


def test_the_table_has_a_line_for_each_client() -> None:
    assert table([run(row(), PLACE), run(row(missing="gone"), PLACE)]).splitlines()[2:] == [
        "| Abacus | 9 | REST | beads | time | ok |",
        "| Abacus |  | REST | beads | time | skipped: gone |",
    ]


@pytest.mark.parametrize(
    ("result", "spoilt", "complaint"),
    [
        ("ok", None, ""),
        ("FAILED", None, "Abacus failed: 7 beads"),
        ("FAILED", "time", ""),
        ("ok", "time", "Abacus does not notice that time is spoilt"),
        ("ok", "null", ""),
        ("FAILED", "null", "Abacus fails with null spoilt, which it should not see: 7 beads"),
        ("skipped: gone", None, ""),
        ("skipped: gone", "time", ""),
    ],
)
def test_exactly_the_clients_that_read_what_is_spoilt_must_fail(
    result: str, spoilt: str | None, complaint: str
) -> None:
    assert unexpected([Result(row(), result, "7 beads")], spoilt) == ([complaint] if complaint else [])


def test_the_table_goes_between_the_markers_of_a_page() -> None:
    page = f"above\n{BEGIN}old\n{END}\nbelow\n"
    assert with_table(page, "new") == f"above\n{BEGIN}\nnew\n\n{END}\nbelow\n"


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_page_without_markers_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="make interop"):
        with_table(page, "new")


def test_an_example_that_prints_what_is_expected_passes() -> None:
    check_scenario(SCENARIO)


@pytest.mark.parametrize("line", SCENARIO.splitlines(keepends=True))
def test_an_example_that_leaves_a_step_out_fails(line: str) -> None:
    with pytest.raises(ClientFailed, match="printed"):
        check_scenario(SCENARIO.replace(line, ""))


def test_every_row_has_its_own_name_and_notices_what_is_spoilt() -> None:
    every = rows()
    assert len({row.name for row in every}) == len(every)
    for client in every:
        assert client.notices <= {*TAMPERINGS, RENAMED_FIELD}, client.name
        assert bool(client.notices) != bool(client.out_of_reach), (
            f"{client.name}: what would it notice, or why nothing?"
        )


def test_the_renamed_field_is_the_only_spoilt_difference() -> None:
    given, spoilt = IMAGE.read_bytes(), renamed(IMAGE.read_bytes())
    files = FileDescriptorSet.FromString(spoilt)
    (field,) = (f for file in files.file for m in file.message_type for f in m.field if f.name == NEW_NAME)
    field.name, field.json_name = FIELD, "toProjectIds"
    assert files == FileDescriptorSet.FromString(given)
