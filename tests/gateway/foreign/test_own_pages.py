"""The gateway's own pages, also in front of a service whose rules match every path."""

from __future__ import annotations

import json

import pytest

from tests.gateway.foreign.conftest import NewForeign
from tests.gateway.foreign.foreign import Foreign

PAGES = {
    "/healthz": "application/json",
    "/openapi.json": "application/json",
    "/docs": "text/html; charset=utf-8",
    "/docs/start.js": "text/javascript; charset=utf-8",
    "/docs/start.css": "text/css; charset=utf-8",
    "/docs/swagger-ui.css": "text/css; charset=utf-8",
    "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "/docs/favicon-32x32.png": "image/png",
}
BROWSER = [("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")]


@pytest.fixture(scope="module")
def catch_all(start: NewForeign) -> Foreign:
    """Service whose rules match every path."""
    return start("catch_all", docs=True)


@pytest.fixture(scope="module")
def documented(start: NewForeign) -> Foreign:
    """Service whose rules do not match the paths of pages."""
    return start("everything", docs=True)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("path", "content_type"), PAGES.items())
def test_a_page_is_preferred_to_a_rule_for_any_path(
    catch_all: Foreign, path: str, content_type: str, method: str
) -> None:
    answer = catch_all.call(f"{method} {path}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
    assert catch_all.echo.seen == []


@pytest.mark.parametrize("path", ["/healthz", "/docs"])
def test_other_methods_of_a_page_reach_the_rule_for_any_path(catch_all: Foreign, path: str) -> None:
    assert catch_all.call(f"POST {path}").json == {"path": path.strip("/")}
    assert catch_all.asked()[0] == "Write"


@pytest.mark.parametrize(
    ("path", "allow"), [("/healthz", "GET, HEAD, OPTIONS, POST"), ("/openapi.json", "GET, HEAD, OPTIONS, POST, PUT")]
)
def test_the_methods_of_page_and_rules_are_allowed(catch_all: Foreign, path: str, allow: str) -> None:
    for method, status in (("DELETE", 405), ("OPTIONS", 200)):
        answer = catch_all.call(f"{method} {path}")
        assert (answer.status, answer.headers["Allow"]) == (status, allow)
    assert catch_all.echo.seen == []


def test_a_rule_for_exactly_the_path_of_a_page_is_preferred(catch_all: Foreign) -> None:
    for method in ("GET", "HEAD"):
        catch_all.echo.forget()
        assert catch_all.call(f"{method} /protos.binpb").status == 200
        assert catch_all.asked()[0] == "ReadProtos"


def test_a_rule_for_another_method_of_a_page_leaves_the_page(catch_all: Foreign) -> None:
    assert "openapi" in catch_all.call("GET /openapi.json").json
    assert catch_all.call("PUT /openapi.json").status == 200
    assert catch_all.asked()[0] == "WriteDescription"


def test_paths_below_a_page_reach_the_rule_for_any_path(catch_all: Foreign) -> None:
    assert catch_all.call("GET /docs/mine").json == {"path": "docs/mine"}
    assert catch_all.call("GET /healthz/live").json == {"path": "healthz/live"}


def test_without_docs_only_health_is_a_page(start: NewForeign) -> None:
    hidden = start("catch_all", docs=False)
    assert hidden.call("GET /healthz").json == {"status": "SERVING"}
    for path in ("/", "/docs", "/openapi.json"):
        assert hidden.call(f"GET {path}", headers=BROWSER[:0]).json.keys() <= {"path"}


def test_a_browser_is_shown_the_way_at_the_root(documented: Foreign) -> None:
    answer = documented.call("GET /", headers=BROWSER)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["Vary"] == "Accept"
    page = answer.body.decode()
    about = json.loads(documented.call("GET /openapi.json").body)["info"]
    assert f"<h1>{about['title']}" in page
    for link in ("docs", "openapi.json", "protos.binpb", "healthz"):
        assert f'<a href="{link}">' in page
        assert documented.call(f"GET /{link}").status == 200
    head = documented.call("HEAD /", headers=BROWSER)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(answer.body)), b"")


@pytest.mark.parametrize("accept", ["text/html", "text/*", "text/html;q=0.5, application/json;q=0.4"])
def test_whoever_prefers_html_is_shown_the_way(documented: Foreign, catch_all: Foreign, accept: str) -> None:
    for service in (documented, catch_all):
        assert service.call("GET /", headers=[("Accept", accept)]).body.startswith(b"<!doctype html>")
    assert catch_all.echo.seen == []


@pytest.mark.parametrize("accept", [None, "", "*/*", "application/json", "text/html, application/json", "image/png"])
def test_the_root_is_as_without_a_page_for_programs(
    documented: Foreign, catch_all: Foreign, accept: str | None
) -> None:
    headers = [] if accept is None else [("Accept", accept)]
    answer = documented.call("GET /", headers=headers)
    assert (answer.status, answer.json["error"]["message"]) == (404, "There is nothing at this path.")
    assert "Vary" not in answer.headers
    expected = 406 if accept == "image/png" else 200
    assert catch_all.call("GET /", headers=headers).status == expected


def test_a_rule_for_the_root_is_preferred_to_the_page(start: NewForeign) -> None:
    rooted = start("paths", docs=True)
    assert rooted.call("GET /", headers=[("Accept", "*/*")]).json == {}
    assert rooted.call("GET /", headers=BROWSER).json == {}
    assert [method for method, _ in rooted.echo.seen] == ["/foreign.paths.v1.Paths/Root"] * 2


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "DELETE"])
def test_other_methods_of_the_root_are_404_also_for_browsers(documented: Foreign, method: str) -> None:
    assert documented.call(f"{method} /", headers=BROWSER).status == 404
