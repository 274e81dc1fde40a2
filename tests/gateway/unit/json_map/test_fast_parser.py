"""The fast parser gives what the exact one gives: the same values of the same types, and the same refusals."""

from __future__ import annotations

import random

import orjson
import pytest

from restmap_gateway.errors import InvalidRequest
from restmap_gateway.json_map import text
from tests.support.effort import cases

BODIES = [
    b'{"backup_id":"a","to_project_ids":["b","c"]}',
    b' {\r\n\t"a" : [ 1 , true , null , "x" ] } ',
    b'"text"',
    b"7",
    b"1.5",
    b"1e3",
    b"-0",
    b"[-0, -0.0, 1E5, 1e-5, 1.50, 0.1]",
    b'{"a":[1e3]}',
    b'["a", 1e3]',
    b'["a", {"b": 1e3}]',
    b"[9223372036854775807, 18446744073709551615, -9223372036854775808]",
    b"[18446744073709551616]",
    b"[" + b"9" * 50 + b"]",
    b"9" * 5000,
    b'{"a":1,"a":2}',
    b'{"a":1,"\\u0061":2}',
    b'{"a":1,"a" :2}',
    b'{"a":1,"a"\n:2}',
    b'{"a":":","a":":"}',
    b'{"a":"\\u003a","a":1}',
    b'{"a":"\\":","b":1}',
    b'{"a":"\\":","a":1}',
    b'{"a:b":1,"c":"d:e"}',
    b'{"at":"12:30","a" :1,"a" :2}',
    b'[{"a":1},{"a":1,"b":{"c":1,"c":2}}]',
    b'[{"a":1,"a":2},NaN]',
    b'{"a":NaN,"a":1}',
    b'{"":1,"":2}',
    b'"\\ud800"',
    b'"\\ud83d\\ude00"',
    b'{"\\ud800":1}',
    b'["\\u0000", "\x7f"]',
    b'"\t"',
    b"\xef\xbb\xbf{}",
    b'"\xff"',
    b"{} {}",
    b"[1,]",
    b"[01]",
    b"[" * 5 + b"]" * 5,
    b"[" * 6 + b"]" * 6,
    b'{"a":' * 6 + b'["x"]' + b"}" * 6,
    b"[" + b"1," * 19 + b"1]",
    b"[" + b"1," * 20 + b"1]",
    b"[" + b'"x",' * 20 + b'"x"]',
    b"{" + b",".join(b'"%d":0' % number for number in range(21)) + b"}",
    b"[" + b"[]," * 9 + b"[1,2,3,4,5,6,7,8,9,0]]",
    b"[" + b"[]," * 10 + b"[1,2,3,4,5,6,7,8,9,0]]",
    b'["a",1]',
    b'["a",[["b",{}]]]',
]


def outcome(body: bytes) -> str:
    """Return the value with the types of all parts, or the refusal."""
    try:
        return repr(text.parse(body, max_depth=5, max_values=20))
    except InvalidRequest as refused:
        return f"refused: {refused}"


def exact(body: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the outcome without the fast parser."""

    def refuse(_body: bytes) -> object:
        raise orjson.JSONDecodeError("", "", 0)

    with monkeypatch.context() as patched:
        patched.setattr("restmap_gateway.json_map.text.orjson.loads", refuse)
        return outcome(body)


@pytest.mark.parametrize("body", BODIES)
def test_the_fast_parser_agrees_with_the_exact_one(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(body) == exact(body, monkeypatch)


def test_the_fast_parser_agrees_on_random_pieces_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b" ",
        b'"a"',
        b'"b"',
        b'"\\":"',
        b'":"',
        b"1",
        b"1e1",
        b"1.0",
        b'"a":',
    ]
    chosen = random.Random(15)  # noqa: S311 - not for secrets
    valid = 0
    for _ in range(cases(20_000)):
        body = b"".join(chosen.choices(pieces, k=chosen.randrange(1, 9)))
        found = outcome(body)
        valid += not found.startswith("refused")
        assert found == exact(body, monkeypatch), body
    assert valid > 100


def test_a_usual_body_needs_no_second_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_exactly", lambda _body: pytest.fail("parsed twice"))
    ids = ",".join(f'"{number:032x}"' for number in range(1000))
    for body in (b'{"a":"12:30","b":[1,true,null,{"c":[]}]}', f'{{"to_project_ids":[{ids}]}}'.encode()):
        text.parse(body, max_depth=5)
