"""Third-party library service with ten methods, served from its descriptor set alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from tests.gateway.foreign.conftest import NewForeign
from tests.gateway.foreign.foreign import Foreign, Json

Library = Callable[..., Foreign]

BOOK = 'name: "shelves/1/books/2" title: "T" page_count: 3 publish_time { seconds: 1 }'
BOOK_JSON = {"name": "shelves/1/books/2", "title": "T", "page_count": 3, "publish_time": "1970-01-01T00:00:01Z"}

CALLS: list[tuple[str, str | None, str, str, str, str, Json]] = [
    ("GET /v1/shelves?page_size=5&pageToken=x", None, "ListShelves", 'page_size: 5 page_token: "x"',
     "ListShelvesResponse", 'shelves { name: "shelves/1" } next_page_token: "y"',
     {"shelves": [{"name": "shelves/1"}], "next_page_token": "y"}),
    ("POST /v1/shelves", '{"theme": "Music"}', "CreateShelf", 'shelf { theme: "Music" }',
     "Shelf", 'name: "shelves/1" theme: "Music"', {"name": "shelves/1", "theme": "Music"}),
    ("GET /v1/shelves/1", None, "GetShelf", 'name: "shelves/1"', "Shelf", "", {}),
    ("DELETE /v1/shelves/1", None, "DeleteShelf", 'name: "shelves/1"', "Shelf", "", {}),
    ("GET /v1/shelves/1/books?filter=a%20b", None, "ListBooks", 'parent: "shelves/1" filter: "a b"',
     "ListBooksResponse", f"books {{ {BOOK} }} books {{}}", [BOOK_JSON, {}]),
    ("POST /v1/shelves/1/books?book_id=2", '{"title": "T"}', "CreateBook",
     'parent: "shelves/1" book_id: "2" book { title: "T" }', "Book", BOOK, BOOK_JSON),
    ("GET /v1/shelves/1/books/2", None, "GetBook", 'name: "shelves/1/books/2"', "Book", BOOK, BOOK_JSON),
    ("GET /v1/isbn/978-3", None, "GetBook", 'isbn: "978-3"', "Book", BOOK, BOOK_JSON),
    ("PATCH /v1/shelves/1/books/2?update_mask=page_count", '{"name": "shelves/1/books/2", "page_count": 3}',
     "UpdateBook",
     'book { name: "shelves/1/books/2" page_count: 3 } update_mask { paths: "page_count" }', "Book", BOOK, BOOK_JSON),
    ("POST /v1/shelves/1/books/2:move", '{"other_shelf_name": "shelves/9"}', "MoveBook",
     'name: "shelves/1/books/2" other_shelf_name: "shelves/9"', "Book", BOOK, BOOK_JSON),
    ("DELETE /v1/shelves/1/books/2", None, "DeleteBook", 'name: "shelves/1/books/2"', "Shelf", "", {}),
]  # fmt: skip


@pytest.fixture(scope="module")
def library(start: NewForeign) -> Foreign:
    return start("library", service=["library.v1.Library"])


@pytest.mark.parametrize(("request_", "body", "method", "asked", "answer", "text", "written"), CALLS)
def test_every_method_works_from_the_descriptor_set_alone(
    library: Foreign, request_: str, body: str | None, method: str, asked: str, answer: str, text: str, written: Json
) -> None:
    library.answers(f"library.v1.{answer}", text)
    got = library.call(request_, body)
    assert (got.status, got.json) == (200, written)
    assert library.asked()[0] == method
    library.assert_asked(asked)


def test_all_ten_methods_are_called_above(library: Foreign) -> None:
    methods = {method.name for method in library.pool.FindServiceByName("library.v1.Library").methods}
    assert methods == {method for _, _, method, *_ in CALLS}
    assert len(methods) == 10


REFUSED = [
    ("GET /v1/shelves?page_size=x", None, "page_size"),
    ("GET /v1/shelves?size=5", None, "size"),
    ("POST /v1/shelves", '{"shelf": {}}', "shelf"),
    ("PATCH /v1/shelves/1/books/2", '{"name": "shelves/1/books/3"}', "name"),
    ("PATCH /v1/shelves/1/books/2?book.title=x", "{}", "book.title"),
    ("POST /v1/shelves/1/books/2:move?name=x", "{}", "name"),
    ("POST /v1/shelves/1/books/2:move", '{"name": "shelves/1/books/2"}', "name"),
]


@pytest.mark.parametrize(("request_", "body", "field"), REFUSED)
def test_what_does_not_fit_is_400_with_the_grpc_codes_name(
    library: Foreign, request_: str, body: str | None, field: str
) -> None:
    answer = library.call(request_, body)
    library.assert_refused(answer, 400, field)
    assert answer.json["error"]["code"] == "INVALID_ARGUMENT"


def test_a_service_that_was_not_asked_for_is_not_served(library: Foreign) -> None:
    assert library.call("POST /v1/loans/1").status == 404


def test_all_services_are_served_where_none_is_named(start: NewForeign) -> None:
    both = start("library")
    assert both.call("POST /v1/loans/1").status == 200
    assert both.asked()[0] == "Borrow"
    both.echo.forget()
    assert both.call("GET /v1/shelves/1").status == 200
    assert both.asked()[0] == "GetShelf"


def test_a_lenient_gateway_logs_what_it_ignores(start: NewForeign) -> None:
    lenient = start("library", lenient=True)
    with capture_logs() as logs:
        assert lenient.call("PATCH /v1/shelves/1/books/2?nope=1", '{"titel": "T"}').status == 200
    ignored = [(entry["message"], entry["member"]) for entry in logs if entry["event"] == "ignored"]
    assert sorted(ignored) == [("library.v1.Book", "titel"), ("library.v1.UpdateBookRequest", "nope")]
