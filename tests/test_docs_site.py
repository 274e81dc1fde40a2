"""Documentation site: builds without warnings, and a browser that shows it contacts no other host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}
"""Elements whose address a browser loads without a click, unlike ``a`` and ``form``."""


class Loads(HTMLParser):
    """Collects the addresses that a page loads and the addresses that it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in LOADED and (address := given.get(LOADED[tag])):
            self.loaded.append(address)
        if tag == "a" and (address := given.get("href")):
            self.linked.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site. ``--strict`` turns each broken link, bad anchor and unlisted page into an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def is_elsewhere(address: str) -> bool:
    return re.match(r"(?:[a-z]+:)?//", address) is not None


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert pages <= {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}


def test_the_site_loads_nothing_from_other_hosts(site: Path) -> None:
    found = []
    for path in site.rglob("*.html"):
        page = Loads()
        page.feed(path.read_text(encoding="utf-8"))
        found += [address for address in page.loaded if is_elsewhere(address)]
    for path in site.rglob("*.css"):
        imports = re.findall(r"(?:@import\s+|url\()['\"]?([^'\")]+)", path.read_text(encoding="utf-8"))
        found += [address for address in imports if is_elsewhere(address)]
    assert found == []


def test_the_site_needs_no_drawing_library(site: Path) -> None:
    """For a page with a diagram, the theme would load this library from another host."""
    assert [path for path in site.rglob("*.html") if 'class="mermaid"' in path.read_text(encoding="utf-8")] == []


EXTERNAL = {"https://squidfunk.github.io/mkdocs-material/", "https://www.sqlite.org/wal.html#walresetbug"}
"""Every link to another host, listed so that new links are reviewed. Tests do not fetch them."""


def test_links_to_other_hosts_are_those_that_are_listed(site: Path) -> None:
    found = set()
    for path in site.rglob("*.html"):
        page = Loads()
        page.feed(path.read_text(encoding="utf-8"))
        found |= {address for address in page.linked if is_elsewhere(address)}
    assert found <= EXTERNAL


def test_alerts_link_to_sections_of_the_site(site: Path) -> None:
    rules = (ROOT / "docs" / "operation" / "alerts.yml").read_text(encoding="utf-8")
    links = re.findall(r"runbook_url: https://[^/]+/(\S+)#(\S+)", rules)
    assert len(links) == rules.count("- alert: ") > 0
    for page, section in links:
        assert f'id="{section}"' in (site / page).read_text(encoding="utf-8")
