"""Query parameters of every type, and error messages for invalid ones."""

from __future__ import annotations

import math

import pytest

from tests.gateway.foreign.foreign import Foreign

SETS = [
    ("", ""),
    ("&&", ""),
    # text
    ("text=", ""),
    ("text=a", 'text: "a"'),
    ("text=a=b", 'text: "a=b"'),
    ("text=a+b", 'text: "a b"'),
    ("text=a%20b%2Bc%26d%3D%25", 'text: "a b+c&d=%"'),
    ("text=%C3%A4%F0%9F%92%BE", 'text: "ä💾"'),
    ("text=%22x%22", r'text: "\"x\""'),
    ("text=a;b,c", 'text: "a;b,c"'),
    ("text=?/:@", 'text: "?/:@"'),
    ("text=null", 'text: "null"'),
    ("text=%00", r'text: "\0"'),
    ("t%65xt=a", 'text: "a"'),
    ("text", ""),
    # names
    ("an_int32=1", "an_int32: 1"),
    ("anInt32=1", "an_int32: 1"),
    ("somethingElse=a", 'renamed: "a"'),
    ("renamed=a", 'renamed: "a"'),
    ("leaf.leaf_name=a&leaf.pageCount=2", 'leaf { leaf_name: "a" page_count: 2 }'),
    ("leaf.leafName=a&leaf.page_count=2", 'leaf { leaf_name: "a" page_count: 2 }'),
    # integers
    ("an_int32=-2147483648", "an_int32: -2147483648"),
    ("an_int32=2147483647", "an_int32: 2147483647"),
    ("an_int32=0", ""),
    ("an_int64=-9223372036854775808", "an_int64: -9223372036854775808"),
    ("an_int64=9223372036854775807", "an_int64: 9223372036854775807"),
    ("a_uint32=4294967295", "a_uint32: 4294967295"),
    ("a_uint64=18446744073709551615", "a_uint64: 18446744073709551615"),
    ("a_sint32=-1&a_sint64=-2", "a_sint32: -1 a_sint64: -2"),
    ("a_fixed32=1&a_fixed64=2&a_sfixed32=-3&a_sfixed64=-4",
     "a_fixed32: 1 a_fixed64: 2 a_sfixed32: -3 a_sfixed64: -4"),
    # floats
    ("a_double=1.5", "a_double: 1.5"),
    ("a_double=-1.5e-3", "a_double: -0.0015"),
    ("a_double=1E3", "a_double: 1000"),
    ("a_double=7", "a_double: 7"),
    ("a_double=Infinity", "a_double: inf"),
    ("a_double=-Infinity", "a_double: -inf"),
    ("a_double=-0", "a_double: -0.0"),
    ("a_double=1.7976931348623157e308", "a_double: 1.7976931348623157e308"),
    ("a_float=0.1", "a_float: 0.1"),
    ("a_float=3.4028235e38", "a_float: 3.4028235e38"),
    ("a_float=Infinity", "a_float: inf"),
    # bool, enum
    ("yes=true", "yes: true"),
    ("yes=false", ""),
    ("color=COLOR_RED", "color: COLOR_RED"),
    ("color=1", "color: COLOR_RED"),
    ("color=-1", "color: COLOR_DARK"),
    ("color=0", ""),
    ("color=77", "color: 77"),
    ("size=SIZE_BIG", "size: SIZE_LARGE"),
    # bytes
    ("blob=aGk%3D", 'blob: "hi"'),
    ("blob=aGk=", 'blob: "hi"'),
    ("blob=aGk", 'blob: "hi"'),
    ("blob=%2B%2F8%3D", r'blob: "\373\377"'),
    ("blob=-_8=", r'blob: "\373\377"'),
    ("blob=-_8", r'blob: "\373\377"'),
    ("blob=", ""),
    # presence
    ("maybe_number=0", "maybe_number: 0"),
    ("maybe_text=", 'maybe_text: ""'),
    ("maybeColor=COLOR_UNSPECIFIED", "maybe_color: COLOR_UNSPECIFIED"),
    # repeated
    ("texts=a&texts=b&texts=a", 'texts: "a" texts: "b" texts: "a"'),
    ("texts=a,b", 'texts: "a,b"'),
    ("texts=", 'texts: ""'),
    ("numbers=3&text=x&numbers=1", 'text: "x" numbers: 3 numbers: 1'),
    ("longs=-1&longs=9223372036854775807", "longs: -1 longs: 9223372036854775807"),
    ("doubles=1.5&doubles=Infinity", "doubles: 1.5 doubles: inf"),
    ("flags=true&flags=false", "flags: true flags: false"),
    ("blobs=aGk=&blobs=-_8", r'blobs: "hi" blobs: "\373\377"'),
    ("colors=COLOR_GREEN&colors=1", "colors: COLOR_GREEN colors: COLOR_RED"),
    ("times=1970-01-01T00:00:01Z&times=1970-01-01T00:00:02Z", "times { seconds: 1 } times { seconds: 2 }"),
    ("notes=a&notes=", 'notes { value: "a" } notes {}'),
    # nested, recursive
    ("leaf.tags=a&leaf.tags=b", 'leaf { tags: "a" tags: "b" }'),
    ("leaf.next_leaf.nextLeaf.leaf_name=a", 'leaf { next_leaf { next_leaf { leaf_name: "a" } } }'),
    ("inner.inner.leaf.page_count=1&inner.text=a", 'inner { text: "a" inner { leaf { page_count: 1 } } }'),
    ("leaf.page_count=0", "leaf {}"),
    ("inner.at=1970-01-01T00:00:01Z", "inner { at { seconds: 1 } }"),
    (".".join(["inner"] * 50) + ".text=a", "inner { " * 50 + 'text: "a"' + " }" * 50),
    # oneof
    ("word=a", 'word: "a"'),
    ("number=0", "number: 0"),
    ("wrapped=a", 'wrapped { value: "a" }'),
    ("picked.leaf_name=a&picked.page_count=1", 'picked { leaf_name: "a" page_count: 1 }'),
    ("leaf.smooth=", 'leaf { smooth: "" }'),
    # well-known
    ("at=2024-05-06T07:08:09Z", "at { seconds: 1714979289 }"),
    ("at=2024-05-06T07:08:09.5%2B02:00", "at { seconds: 1714972089 nanos: 500000000 }"),
    ("at=1970-01-01T00:00:00Z", "at {}"),
    ("span=1.5s", "span { seconds: 1 nanos: 500000000 }"),
    ("span=-0.000000001s", "span { nanos: -1 }"),
    ("mask=leafName", 'mask { paths: "leaf_name" }'),
    ("mask=leaf_name", 'mask { paths: "leaf_name" }'),
    ("mask=text,leaf.pageCount,leaf.page_count",
     'mask { paths: "text" paths: "leaf.page_count" paths: "leaf.page_count" }'),
    ("mask=*", 'mask { paths: "*" }'),
    ("mask=", "mask {}"),
    ("bool_box=false", "bool_box {}"),
    ("boolBox=true", "bool_box { value: true }"),
    ("bytes_box=aGk", 'bytes_box { value: "hi" }'),
    ("double_box=1.5&float_box=2.5", "double_box { value: 1.5 } float_box { value: 2.5 }"),
    ("int32_box=0&int64_box=-5", "int32_box {} int64_box { value: -5 }"),
    ("uint32_box=1&uint64_box=18446744073709551615",
     "uint32_box { value: 1 } uint64_box { value: 18446744073709551615 }"),
    ("string_box=", "string_box {}"),
    ("string_box=%22a%22", r'string_box { value: "\"a\"" }'),
]  # fmt: skip


@pytest.mark.parametrize(("query", "text"), SETS)
def test_a_query_sets_fields(foreign: Foreign, query: str, text: str) -> None:
    answer = foreign.call(f"GET /v1/query?{query}")
    assert answer.status == 200, answer.body
    foreign.assert_asked(text)


@pytest.mark.parametrize("name", ["a_float", "a_double", "double_box"])
def test_nan_is_a_number(foreign: Foreign, name: str) -> None:
    assert foreign.call(f"GET /v1/query?{name}=NaN").json == {name: "NaN"}
    _, request = foreign.asked()
    value = getattr(request, name)
    assert math.isnan(getattr(value, "value", value))


WRONG_VALUES = {
    "an_int32": ["", "x", "1.0", "1e3", "+5", "%2B5", "-", "--1", "0x10", "010", "-0", "%201", "1+", "1_000", "1,000",
                 "2147483648", "-2147483649", "null", "true", "%D9%A1", "9" * 400],
    "an_int64": ["9223372036854775808", "-9223372036854775809", "1e3"],
    "a_uint32": ["-1", "4294967296"],
    "a_uint64": ["-1", "18446744073709551616"],
    "a_sint32": ["2147483648"],
    "a_fixed32": ["4294967296"],
    "a_fixed64": ["-1"],
    "a_sfixed32": ["2147483648"],
    "a_sfixed64": ["9223372036854775808"],
    "a_double": ["", "x", "1,5", "nan", "inf", "Inf", "+Infinity", "%2B1", ".5", "5.", "0x1p3", "1e309", "1e", "01.5"],
    "a_float": ["3.5e38", "1e39", "infinity"],
    "yes": ["", "True", "TRUE", "1", "0", "t", "yes", "on", "null"],
    "color": ["", "RED", "color_red", "Color_Red", "COLOR_BLUE", "1.0", "2147483648", "null"],
    "blob": ["a", "%21", "aGk%3D%3D", "aG%20k", "-_8+"],
    "maybe_number": ["", "x"],
    "at": ["", "now", "0", "2024-05-06", "2024-05-06T07:08:09", "2024-13-06T07:08:09Z", "2024-05-06T07:08:09+02:00",
           "0000-01-01T00:00:00Z", "null"],
    "span": ["", "1", "1m", "1h", "s", "1.0000000001s", "315576000001s", "null"],
    "mask": ["a,,b", "a%20b", "a.", "*,"],
    "int32_box": ["", "x", "2147483648"],
    "bool_box": ["1"],
    "leaf.page_count": ["x"],
    "inner.inner.an_int32": ["x"],
    "numbers": ["x", ""],
    "colors": ["COLOR_BLUE"],
    "times": ["x"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG_VALUES.items() for value in values]
)
def test_a_value_that_does_not_fit_is_400_and_is_named(foreign: Foreign, name: str, value: str) -> None:
    foreign.assert_refused(foreign.call(f"GET /v1/query?{name}={value}"), 400, name)


REFUSED = [
    # unknown parameters
    ("nope=1", "nope"), ("nope", "nope"), ("=1", ""), ("Text=a", "Text"), ("leaf.nope=1", "leaf.nope"),
    ("leaf.=1", "leaf."), (".leaf=1", ".leaf"), ("leaf..tags=1", "leaf..tags"), ("text.x=1", "text.x"),
    ("texts[]=a", "texts[]"), ("texts[0]=a", "texts[0]"), ("labels[a]=b", "labels[a]"),
    ("leaf[leaf_name]=a", "leaf[leaf_name]"),
    ("$other=json", "$other"), ("text;color=1", "text;color"), ("__proto__=1", "__proto__"),
    ("SomethingElse=a", "SomethingElse"),
    ("at.seconds=1", "at.seconds"), ("string_box.value=a", "string_box.value"), ("mask.paths=a", "mask.paths"),
    # types without a text form
    ("leaf=a", "leaf"), ("leaf=", "leaf"), ("leaf=%7B%7D", "leaf"), ("labels=a", "labels"), ("labels.a=b", "labels.a"),
    ("leaves=a", "leaves"), ("leaves.leaf_name=a", "leaves.leaf_name"),
    ("leaves[0].leaf_name=a", "leaves[0].leaf_name"),
    ("free=%7B%7D", "free"), ("value=1", "value"), ("list=1", "list"), ("any=x", "any"), ("empty=", "empty"),
    ("leaf_of.a.leaf_name=b", "leaf_of.a.leaf_name"), ("inner.labels=x", "inner.labels"),
    (".".join(["inner"] * 101) + ".text=a", ".".join(["inner"] * 101) + ".text"),
    # duplicate parameters
    ("text=a&text=b", "text"), ("text=a&text=a", "text"), ("an_int32=1&an_int32=1", "an_int32"),
    ("an_int32=1&anInt32=2", "anInt32"), ("leaf.leaf_name=a&leaf.leafName=b", "leaf.leafName"),
    ("texts=a&texts=b&string_box=1&string_box=2", "string_box"),
    # oneof
    ("word=a&number=1", "number"), ("number=1&word=a", "word"), ("word=&wrapped=", "wrapped"),
    ("word=a&picked.leaf_name=b", "picked.leaf_name"), ("picked.leaf_name=b&word=a", "word"),
    ("leaf.smooth=a&leaf.teeth=1", "leaf.teeth"), ("inner.word=a&inner.number=1", "inner.number"),
    # percent-encoding
    ("text=%", "text"), ("text=%zz", "text"), ("text=%ff", "text"), ("text=%C3", "text"), ("text=%ED%A0%80", "text"),
    ("te%xt=a", "te%xt"), ("nope=%zz", "nope"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "field"), REFUSED)
def test_a_query_that_does_not_fit_is_400_naming_its_parameter(foreign: Foreign, query: str, field: str) -> None:
    foreign.assert_refused(foreign.call(f"GET /v1/query?{query}"), 400, field)


@pytest.mark.parametrize(
    ("query", "meant"),
    [("txet=a", "text"), ("leaf.leaf_nmae=a", "leaf.leaf_name"), ("laef.leaf_name=a", "leaf.leaf_name"),
     ("anint32=1", "an_int32"), ("Color=1", "color"), ("a_duoble=1", "a_double"), ("strng_box=a", "string_box")],
)  # fmt: skip
def test_an_unknown_name_is_answered_with_the_nearest_right_one(foreign: Foreign, query: str, meant: str) -> None:
    answer = foreign.call(f"GET /v1/query?{query}")
    foreign.assert_refused(answer, 400, query.partition("=")[0])
    assert f'did you mean "{meant}"?' in answer.json["error"]["message"]


def test_everything_wrong_is_said_at_once(foreign: Foreign) -> None:
    answer = foreign.call("GET /v1/query?nope=1&an_int32=x&yes=1&text=a&text=b")
    assert sorted(answer.fields) == ["an_int32", "nope", "text", "yes"]


BESIDE_PATH = [
    ("GET /v1/query/a/leaf/b?leaf.page_count=1&an_int32=2",
     'text: "a" an_int32: 2 leaf { leaf_name: "b" page_count: 1 }'),
    ("GET /v1/query/5?text=a", 'text: "a" an_int32: 5'),
    ("GET /v1/query/5?leaf.leaf_name=a", 'an_int32: 5 leaf { leaf_name: "a" }'),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "text"), BESIDE_PATH)
def test_what_the_path_leaves_may_be_in_the_query(foreign: Foreign, request_: str, text: str) -> None:
    assert foreign.call(request_).status == 200
    foreign.assert_asked(text)


BOUND = [
    ("GET /v1/query/a/leaf/b?text=a", "text"),
    ("GET /v1/query/a/leaf/b?leaf.leaf_name=b", "leaf.leaf_name"),
    ("GET /v1/query/a/leaf/b?leaf.leafName=c", "leaf.leafName"),
    ("GET /v1/query/5?anInt32=5", "anInt32"),
    ("GET /v1/types/oneof/a?number=1", "number"),
]


@pytest.mark.parametrize(("request_", "field"), BOUND)
def test_what_the_path_binds_may_not_be_in_the_query(foreign: Foreign, request_: str, field: str) -> None:
    foreign.assert_refused(foreign.call(request_), 400, field)


PATH_TYPES = [
    ("text/a%20b", 'text: "a b"'),
    ("bytes/aGk=", 'blob: "hi"'),
    ("bytes/-_8", r'blob: "\373\377"'),
    ("bytes/%2B%2F8=", r'blob: "\373\377"'),
    ("bool/true", "yes: true"),
    ("bool/false", ""),
    ("int32/-5", "an_int32: -5"),
    ("int64/9223372036854775807", "an_int64: 9223372036854775807"),
    ("uint32/0", ""),
    ("uint64/18446744073709551615", "a_uint64: 18446744073709551615"),
    ("float/1.5", "a_float: 1.5"),
    ("double/-Infinity", "a_double: -inf"),
    ("enum/COLOR_GREEN", "color: COLOR_GREEN"),
    ("enum/2", "color: COLOR_GREEN"),
    ("optional/0", "maybe_number: 0"),
    ("oneof/a", 'word: "a"'),
    ("time/1970-01-01T00:00:01Z", "at { seconds: 1 }"),
    ("wrapper/a", 'string_box { value: "a" }'),
    ("nested/7", "inner { inner { an_int64: 7 } }"),
]


@pytest.mark.parametrize(("path", "text"), PATH_TYPES)
def test_a_variable_has_the_type_of_its_field(foreign: Foreign, path: str, text: str) -> None:
    assert foreign.call(f"GET /v1/types/{path}").status == 200
    foreign.assert_asked(text)


WRONG_PATHS = [
    ("bytes/!", "blob"), ("bool/True", "yes"), ("bool/1", "yes"), ("int32/x", "an_int32"), ("int32/1.0", "an_int32"),
    ("int32/2147483648", "an_int32"), ("int64/9223372036854775808", "an_int64"), ("uint32/-1", "a_uint32"),
    ("uint64/18446744073709551616", "a_uint64"), ("float/1e39", "a_float"), ("double/inf", "a_double"),
    ("enum/GREEN", "color"), ("optional/null", "maybe_number"), ("time/today", "at"),
    ("nested/x", "inner.inner.an_int64"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "field"), WRONG_PATHS)
def test_a_variable_that_does_not_fit_its_field_is_a_bad_request(foreign: Foreign, path: str, field: str) -> None:
    foreign.assert_refused(foreign.call(f"GET /v1/types/{path}"), 400, field)


def test_a_lenient_gateway_ignores_what_is_unknown_only(lenient: Foreign) -> None:
    assert lenient.call("GET /v1/query?nope=1&text=a&leaf.nope=2&$alt=json").status == 200
    lenient.assert_asked('text: "a"')
    lenient.echo.forget()
    lenient.assert_refused(lenient.call("GET /v1/query?nope=1&an_int32=x"), 400, "an_int32")
    lenient.assert_refused(lenient.call("GET /v1/query?labels=1"), 400, "labels")
