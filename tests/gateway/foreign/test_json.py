"""JSON of every type: request body, message at the server, and response body."""

from __future__ import annotations

import pytest

from tests.gateway.foreign.foreign import Foreign, Json

TYPE = "type.googleapis.com/"

SAME = [
    # members in proto order, in the canonical output form
    ('{"text":"ä\\n\\"\\\\💾"}', r'text: "ä\n\"\\💾"'),
    ('{"blob":"+/8="}', r'blob: "\373\377"'),
    ('{"yes":true}', "yes: true"),
    ('{"an_int32":-2147483648}', "an_int32: -2147483648"),
    ('{"an_int64":"9223372036854775807"}', "an_int64: 9223372036854775807"),
    ('{"a_uint32":4294967295}', "a_uint32: 4294967295"),
    ('{"a_uint64":"18446744073709551615"}', "a_uint64: 18446744073709551615"),
    ('{"a_sint32":-1,"a_sint64":"-2"}', "a_sint32: -1 a_sint64: -2"),
    ('{"a_fixed32":1,"a_fixed64":"2","a_sfixed32":-3,"a_sfixed64":"-4"}',
     "a_fixed32: 1 a_fixed64: 2 a_sfixed32: -3 a_sfixed64: -4"),
    ('{"a_float":0.1,"a_double":0.1}', "a_float: 0.1 a_double: 0.1"),
    ('{"a_float":"Infinity","a_double":"-Infinity"}', "a_float: inf a_double: -inf"),
    ('{"a_double":1.7976931348623157e+308}', "a_double: 1.7976931348623157e308"),
    ('{"a_double":-0.0}', "a_double: -0.0"),
    ('{"color":"COLOR_DARK"}', "color: COLOR_DARK"),
    ('{"color":77}', "color: 77"),
    ('{"size":"SIZE_LARGE"}', "size: SIZE_LARGE"),
    ('{"maybe_number":0,"maybe_text":"","maybe_color":"COLOR_UNSPECIFIED"}',
     'maybe_number: 0 maybe_text: "" maybe_color: COLOR_UNSPECIFIED'),
    ('{"renamed":"a"}', 'renamed: "a"'),
    ('{"texts":["a",""],"numbers":[1,0],"longs":["1"],"doubles":[1.5,"NaN"],"flags":[true,false]}',
     'texts: "a" texts: "" numbers: 1 numbers: 0 longs: 1 doubles: 1.5 doubles: nan flags: true flags: false'),
    ('{"blobs":["aGk=",""],"colors":["COLOR_RED",5],"times":["1970-01-01T00:00:01Z"],"notes":["a",""]}',
     'blobs: "hi" blobs: "" colors: COLOR_RED colors: 5 times { seconds: 1 } notes { value: "a" } notes {}'),
    ('{"leaves":[{},{"leaf_name":"a"}]}', 'leaves {} leaves { leaf_name: "a" }'),
    ('{"labels":{"":"x","a.b":"y"}}', 'labels { key: "" value: "x" } labels { key: "a.b" value: "y" }'),
    ('{"by_int32":{"-1":"a","2":"b"}}', 'by_int32 { key: -1 value: "a" } by_int32 { key: 2 value: "b" }'),
    ('{"by_int64":{"-9223372036854775808":"a"}}', 'by_int64 { key: -9223372036854775808 value: "a" }'),
    ('{"by_uint32":{"4294967295":"a"}}', 'by_uint32 { key: 4294967295 value: "a" }'),
    ('{"by_uint64":{"18446744073709551615":"a"}}', 'by_uint64 { key: 18446744073709551615 value: "a" }'),
    ('{"by_sint32":{"-5":"a"},"by_fixed64":{"5":"b"}}',
     'by_sint32 { key: -5 value: "a" } by_fixed64 { key: 5 value: "b" }'),
    ('{"by_bool":{"false":"a","true":"b"}}', 'by_bool { key: false value: "a" } by_bool { key: true value: "b" }'),
    ('{"long_of":{"a":"5"},"color_of":{"a":"COLOR_RED"}}',
     'long_of { key: "a" value: 5 } color_of { key: "a" value: COLOR_RED }'),
    ('{"leaf_of":{"a":{"tags":["x"]},"b":{}},"span_of":{"a":"1s"}}',
     'leaf_of { key: "a" value { tags: "x" } } leaf_of { key: "b" value {} }'
     ' span_of { key: "a" value { seconds: 1 } }'),
    ('{"leaf":{}}', "leaf {}"),
    ('{"leaf":{"next_leaf":{"next_leaf":{"page_count":1}}}}', "leaf { next_leaf { next_leaf { page_count: 1 } } }"),
    ('{"inner":{"inner":{"an_int64":"1"}}}', "inner { inner { an_int64: 1 } }"),
    ('{"word":""}', 'word: ""'),
    ('{"number":0}', "number: 0"),
    ('{"picked":{}}', "picked {}"),
    ('{"wrapped":""}', "wrapped {}"),
    ('{"at":"0001-01-01T00:00:00Z"}', "at { seconds: -62135596800 }"),
    ('{"at":"9999-12-31T23:59:59.999999999Z"}', "at { seconds: 253402300799 nanos: 999999999 }"),
    ('{"at":"1970-01-01T00:00:00.120Z"}', "at { nanos: 120000000 }"),
    ('{"at":"1970-01-01T00:00:00.000001Z"}', "at { nanos: 1000 }"),
    ('{"span":"-1.500s"}', "span { seconds: -1 nanos: -500000000 }"),
    ('{"span":"0s"}', "span {}"),
    ('{"span":"315576000000s"}', "span { seconds: 315576000000 }"),
    ('{"mask":"leaf.pageCount,text"}', 'mask { paths: "leaf.page_count" paths: "text" }'),
    ('{"mask":""}', "mask {}"),
    ('{"mask":"*"}', 'mask { paths: "*" }'),
    ('{"free":{}}', "free {}"),
    ('{"free":{"a":[null,true,1.5,"x",{}]}}',
     'free { fields { key: "a" value { list_value { values { null_value: NULL_VALUE } values { bool_value: true }'
     ' values { number_value: 1.5 } values { string_value: "x" } values { struct_value {} } } } } }'),
    ('{"value":null}', "value { null_value: NULL_VALUE }"),
    ('{"value":[]}', "value { list_value {} }"),
    ('{"value":5}', "value { number_value: 5 }"),
    ('{"list":[1,"a"]}', 'list { values { number_value: 1 } values { string_value: "a" } }'),
    ('{"empty":{}}', "empty {}"),
    ('{"any":{}}', "any {}"),
    (f'{{"any":{{"@type":"{TYPE}foreign.v1.Leaf","page_count":1}}}}',
     f"any {{ [{TYPE}foreign.v1.Leaf] {{ page_count: 1 }} }}"),
    (f'{{"any":{{"@type":"{TYPE}google.protobuf.Duration","value":"1s"}}}}',
     f"any {{ [{TYPE}google.protobuf.Duration] {{ seconds: 1 }} }}"),
    ('{"bool_box":false,"bytes_box":"","double_box":0.0,"float_box":0.5,"int32_box":0}',
     "bool_box {} bytes_box {} double_box {} float_box { value: 0.5 } int32_box {}"),
    ('{"int64_box":"0","string_box":"","uint32_box":1,"uint64_box":"2"}',
     "int64_box {} string_box {} uint32_box { value: 1 } uint64_box { value: 2 }"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "text"), SAME)
def test_what_is_written_is_what_was_read(foreign: Foreign, body: str, text: str) -> None:
    answer = foreign.call("POST /v1/echo", body)
    assert answer.body.decode() == body
    if "nan" not in text:  # NaN differs from itself
        foreign.assert_asked(text)


OTHER = [
    # defaults are omitted
    ('{"text":"","an_int32":0,"yes":false,"color":"COLOR_UNSPECIFIED","blob":""}', {}),
    ('{"a_double":0.0,"a_float":0,"texts":[],"leaves":[],"labels":{},"leaf_of":{}}', {}),
    # null means absent
    ('{"text":null,"an_int64":null,"yes":null,"blob":null,"color":null,"a_float":null}', {}),
    ('{"maybe_number":null,"maybe_text":null,"texts":null,"leaves":null,"labels":null}', {}),
    ('{"leaf_of":null,"span_of":null,"by_bool":null}', {}),
    ('{"leaf":null,"inner":null,"at":null,"span":null,"mask":null,"free":null,"list":null,"any":null}', {}),
    ('{"bool_box":null,"string_box":null,"int64_box":null,"none":null}', {}),
    ('{"word":null,"number":1,"picked":null}', {"number": 1}),
    ('{"leaf":{"leaf_name":null,"next_leaf":null}}', {"leaf": {}}),
    # names
    ('{"anInt32":1,"maybeText":"a","somethingElse":"b"}', {"an_int32": 1, "maybe_text": "a", "renamed": "b"}),
    ('{"leafOf":{"a":{"leafName":"b"}}}', {"leaf_of": {"a": {"leaf_name": "b"}}}),
    ('{"\\u0074ext":"a"}', {"text": "a"}),
    # numbers
    ('{"an_int32":"5","an_int64":5,"a_uint64":18446744073709551615}',
     {"an_int32": 5, "an_int64": "5", "a_uint64": "18446744073709551615"}),
    ('{"an_int32":1e3,"an_int64":"1.0","a_uint32":1.5e1}', {"an_int32": 1000, "an_int64": "1", "a_uint32": 15}),
    ('{"an_int64":9007199254740993}', {"an_int64": "9007199254740993"}),
    ('{"an_int32":-0}', {}),
    ('{"a_double":"1.5","a_float":"2"}', {"a_double": 1.5, "a_float": 2.0}),
    ('{"a_double":5}', {"a_double": 5.0}),
    ('{"a_double":"NaN"}', {"a_double": "NaN"}),
    ('{"a_float":1e-60}', {}),
    # enums
    ('{"color":1,"colors":[2,-1]}', {"color": "COLOR_RED", "colors": ["COLOR_GREEN", "COLOR_DARK"]}),
    ('{"size":"SIZE_BIG"}', {"size": "SIZE_LARGE"}),
    # bytes
    ('{"blob":"-_8"}', {"blob": "+/8="}),
    ('{"blob":"-_8="}', {"blob": "+/8="}),
    ('{"blob":"+/8"}', {"blob": "+/8="}),
    # maps
    ('{"by_int32":{"2":"b","1":"a"}}', {"by_int32": {"1": "a", "2": "b"}}),
    ('{"color_of":{"a":1},"long_of":{"a":5}}', {"color_of": {"a": "COLOR_RED"}, "long_of": {"a": "5"}}),
    # well-known types
    ('{"at":"2024-05-06T09:08:09.1+02:00"}', {"at": "2024-05-06T07:08:09.100Z"}),
    ('{"at":"2024-05-06T07:08:09-00:30"}', {"at": "2024-05-06T07:38:09Z"}),
    ('{"span":"1.50s"}', {"span": "1.500s"}),
    ('{"span":"-0s"}', {"span": "0s"}),
    ('{"int64_box":5,"uint32_box":"5","bytes_box":"-_8"}', {"int64_box": "5", "uint32_box": 5, "bytes_box": "+/8="}),
    ('{"free":{"b":1.0,"a":1e2}}', {"free": {"a": 100, "b": 1}}),
    (f'{{"any":{{"pageCount":1,"@type":"{TYPE}foreign.v1.Leaf"}}}}',
     {"any": {"@type": f"{TYPE}foreign.v1.Leaf", "page_count": 1}}),
    (' { "text" : "a" , "texts" : [ ] } ', {"text": "a"}),
]  # fmt: skip


@pytest.mark.parametrize(("body", "written"), OTHER)
def test_other_spellings_are_read_too(foreign: Foreign, body: str, written: Json) -> None:
    answer = foreign.call("POST /v1/echo", body)
    assert (answer.status, answer.json) == (200, written)


REFUSED = [
    # unknown and duplicate members
    ('{"nope":1}', "nope"), ('{"nope":null}', "nope"), ('{"Text":"a"}', "Text"), ('{"leaf":{"nope":1}}', "leaf.nope"),
    ('{"leaves":[{},{"nope":1}]}', "leaves[1].nope"), ('{"leaf_of":{"a b":{"nope":1}}}', 'leaf_of["a b"].nope'),
    ('{"leaf":{"next_leaf":{"x y":1}}}', 'leaf.next_leaf["x y"]'), ('{"leaf.leaf_name":"a"}', '["leaf.leaf_name"]'),
    ('{"[foreign.v1.x]":1}', '["[foreign.v1.x]"]'), ('{"empty":{"a":1}}', "empty.a"), ('{"":1}', '[""]'),
    ('{"text":"a","text":"a"}', "text"), ('{"an_int32":1,"anInt32":1}', "anInt32"), ('{"leaf":{},"leaf":null}', "leaf"),
    ('{"renamed":null,"somethingElse":null}', "somethingElse"), ('{"labels":{"a":"b","a":"c"}}', "labels.a"),
    ('{"free":{"a":1,"a":1}}', "free.a"), ('{"leaf":{"leafName":"a","leaf_name":"a"}}', "leaf.leafName"),
    # oneof
    ('{"word":"a","number":1}', "number"), ('{"picked":{},"wrapped":"a"}', "wrapped"),
    ('{"number":0,"word":""}', "word"),
    ('{"leaf":{"smooth":"a","teeth":1}}', "leaf.teeth"),
    # scalars
    ('{"text":1}', "text"), ('{"text":true}', "text"), ('{"text":["a"]}', "text"), ('{"text":{}}', "text"),
    ('{"yes":"true"}', "yes"), ('{"yes":1}', "yes"), ('{"yes":"1"}', "yes"), ('{"an_int32":true}', "an_int32"),
    ('{"an_int32":1.5}', "an_int32"), ('{"an_int32":"x"}', "an_int32"), ('{"an_int32":""}', "an_int32"),
    ('{"an_int32":" 1"}', "an_int32"), ('{"an_int32":"+1"}', "an_int32"), ('{"an_int32":"0x1"}', "an_int32"),
    ('{"an_int32":"01"}', "an_int32"), ('{"an_int32":2147483648}', "an_int32"), ('{"an_int32":[1]}', "an_int32"),
    ('{"an_int64":9223372036854775808}', "an_int64"), ('{"an_int64":"-9223372036854775809"}', "an_int64"),
    ('{"an_int64":1e400}', "an_int64"), ('{"a_uint32":-1}', "a_uint32"), ('{"a_uint32":4294967296}', "a_uint32"),
    ('{"a_uint64":-1}', "a_uint64"), ('{"a_uint64":18446744073709551616}', "a_uint64"),
    ('{"a_sint64":0.1}', "a_sint64"),
    ('{"a_double":true}', "a_double"), ('{"a_double":"x"}', "a_double"), ('{"a_double":""}', "a_double"),
    ('{"a_double":1e309}', "a_double"), ('{"a_double":"nan"}', "a_double"), ('{"a_double":"inf"}', "a_double"),
    ('{"a_float":3.5e38}', "a_float"), ('{"a_float":"-1e39"}', "a_float"), ('{"color":"RED"}', "color"),
    ('{"color":"color_red"}', "color"), ('{"color":"1"}', "color"), ('{"color":1.5}', "color"),
    ('{"color":2147483648}', "color"), ('{"color":true}', "color"), ('{"color":""}', "color"), ('{"blob":"a"}', "blob"),
    ('{"blob":"!!!!"}', "blob"), ('{"blob":"aGk=="}', "blob"), ('{"blob":"a Gk"}', "blob"), ('{"blob":[104]}', "blob"),
    ('{"maybe_number":"x"}', "maybe_number"), ('{"none":1.5}', "none"),
    # repeated, maps
    ('{"texts":"a"}', "texts"), ('{"texts":{}}', "texts"), ('{"texts":[1]}', "texts[0]"),
    ('{"texts":[null]}', "texts[0]"),
    ('{"texts":["a",["b"]]}', "texts[1]"), ('{"numbers":["1","x"]}', "numbers[1]"), ('{"leaves":{}}', "leaves"),
    ('{"leaves":[null]}', "leaves[0]"), ('{"leaves":[[]]}', "leaves[0]"), ('{"times":["x"]}', "times[0]"),
    ('{"notes":[null]}', "notes[0]"), ('{"labels":[]}', "labels"), ('{"labels":{"a":1}}', 'labels["a"]'),
    ('{"labels":{"a":null}}', 'labels["a"]'), ('{"by_int32":{"x":"a"}}', 'by_int32["x"]'),
    ('{"by_int32":{"1.0":"a"}}', 'by_int32["1.0"]'), ('{"by_int32":{"2147483648":"a"}}', 'by_int32["2147483648"]'),
    ('{"by_uint64":{"-1":"a"}}', 'by_uint64["-1"]'), ('{"by_bool":{"True":"a"}}', 'by_bool["True"]'),
    ('{"by_bool":{"1":"a"}}', 'by_bool["1"]'), ('{"by_int64":{"":"a"}}', 'by_int64[""]'),
    ('{"leaf_of":{"a":null}}', 'leaf_of["a"]'), ('{"color_of":{"a":"RED"}}', 'color_of["a"]'),
    # messages and well-known types
    ('{"leaf":[]}', "leaf"), ('{"leaf":"a"}', "leaf"), ('{"inner":{"inner":{"yes":1}}}', "inner.inner.yes"),
    ('{"at":0}', "at"), ('{"at":""}', "at"), ('{"at":"2024-05-06"}', "at"), ('{"at":"2024-05-06T07:08:09"}', "at"),
    ('{"at":"2024-02-30T00:00:00Z"}', "at"), ('{"at":"2024-05-06T07:08:09z"}', "at"), ('{"at":{"seconds":1}}', "at"),
    ('{"at":"10000-01-01T00:00:00Z"}', "at"), ('{"at":"1970-01-01T00:00:00.1234567890Z"}', "at"),
    ('{"span":1}', "span"),
    ('{"span":"1"}', "span"), ('{"span":"1m"}', "span"), ('{"span":{"seconds":1}}', "span"), ('{"mask":["a"]}', "mask"),
    ('{"span":"315576000001s"}', "span"), ('{"mask":"a_b"}', "mask"), ('{"mask":{"paths":["a"]}}', "mask"),
    ('{"free":[]}', "free"), ('{"free":"{}"}', "free"), ('{"list":{}}', "list"), ('{"value":1e400}', "value"),
    ('{"free":{"a":[{"b":1e400}]}}', "free.a[0].b"), ('{"empty":[]}', "empty"), ('{"any":[]}', "any"),
    ('{"any":{"page_count":1}}', 'any["@type"]'), ('{"any":{"@type":"x"}}', 'any["@type"]'),
    ('{"any":{"@type":"type.googleapis.com/nope.Nope"}}', 'any["@type"]'),
    ('{"string_box":{"value":"a"}}', "string_box"),
    ('{"any":{"@type":"type.googleapis.com/foreign.v1.Leaf","nope":1}}', "any.nope"),
    ('{"int32_box":"x"}', "int32_box"),
    ('{"bool_box":"true"}', "bool_box"), ('{"uint64_box":-1}', "uint64_box"), ('{"bytes_box":"!"}', "bytes_box"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "field"), REFUSED)
def test_a_member_that_does_not_fit_is_400_and_is_named(foreign: Foreign, body: str, field: str) -> None:
    foreign.assert_refused(foreign.call("POST /v1/echo", body), 400, field)


@pytest.mark.parametrize(
    ("body", "meant"),
    [('{"txet":"a"}', "text"), ('{"An_int32":1}', "an_int32"), ('{"leaf":{"leaf_nmae":"a"}}', "leaf_name")],
)
def test_an_unknown_member_is_answered_with_the_nearest_name(foreign: Foreign, body: str, meant: str) -> None:
    assert f'did you mean "{meant}"?' in foreign.call("POST /v1/echo", body).json["error"]["message"]


DEEP = [
    ('{"free":' + '{"a":' * 60 + "1" + "}" * 61, "a Struct holds three levels of messages for one of JSON"),
    ('{"value":' + "[" * 95 + "]" * 95 + "}", "a list holds two"),
    ('{"text":' + "[" * 101, "deeper than --max-depth"),
    ('{"inner":' * 101 + "{}" + "}" * 101, "deeper than --max-depth"),
]


@pytest.mark.parametrize(("body", "_why"), DEEP)
def test_what_is_nested_too_deep_for_a_server_is_a_bad_request(foreign: Foreign, body: str, _why: str) -> None:
    foreign.assert_refused(foreign.call("POST /v1/echo", body), 400, "")


@pytest.mark.parametrize(
    "body", ['{"free":{"a":' + "[" * 20 + "1" + "]" * 20 + "}}", '{"inner":' * 60 + "{}" + "}" * 60]
)
def test_what_is_nested_less_deep_reaches_the_server(foreign: Foreign, body: str) -> None:
    assert foreign.call("POST /v1/echo", body).body.decode() == body


def test_a_lenient_gateway_ignores_unknown_members_only(lenient: Foreign) -> None:
    body = '{"nope":{"x":[1]},"text":"a","leaf":{"nope":1},"leaves":[{"nope":1}],"leaf_of":{"a":{"nope":1}}}'
    answer = lenient.call("POST /v1/echo", body)
    assert answer.json == {"text": "a", "leaves": [{}], "leaf_of": {"a": {}}, "leaf": {}}
    lenient.echo.forget()
    lenient.assert_refused(lenient.call("POST /v1/echo", '{"nope":1,"text":1}'), 400, "text")
    lenient.assert_refused(lenient.call("POST /v1/echo", '{"nope":1,"nope":2}'), 400, "nope")
