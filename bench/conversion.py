"""JSON ↔ message: ours against protobuf's json_format, on the documented body and answer."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from backup_sharing.gateway_program import descriptor_set
from bench.inside import measured_inside
from bench.outcome import Outcome, Setting, Table, number
from restmap_gateway.json_map import JsonMap, dumps
from restmap_gateway.json_map.text import parse
from restmap_gateway.schema.schema import load

_BODY = (
    b'{"shared": {"to_project_ids": ["722513ed0a324dadaabe5b2d0fe848c9", "722513ed0a324dadaabe5b2d0fe84919"], '
    b'"backup_id": "066b1e37-9305-4057-97e5-2e99b21fc71d"}}'
)
_ANSWER = (
    b'{"shared":[{"backup_id":"066b1e37-9305-4057-97e5-2e99b21fc71d","created_at":"2026-11-23T10:11:12.131415Z",'
    b'"to_project_id":"722513ed0a324dadaabe5b2d0fe848c9","from_project_id":"c13f5220dc1949b0b741ea81a7cd5554",'
    b'"id":"8332443e-9866-41d8-8a58-a898cf5db030"}]}'
)
_TIMES = 4000
_ROUNDS = 15

Work = Callable[[], object]


def measure_conversion(setting: Setting) -> Outcome:
    """Time of reading the documented body and writing the documented answer, in each way."""
    found = measured_inside(setting, "bench.conversion")
    rows = [(what, number(us["ours"], 2), number(us["json_format"], 2), number(us["ratio"], 2)) for what, us in found]
    return Outcome(
        "conversion",
        "Conversion of JSON",
        f"The documented POST body into a message, and a message into the documented answer, in one process;"
        f" {_ROUNDS} rounds of {_TIMES} in turn, medians. Ours reads strictly and writes the documented form;"
        " both make equal messages.",
        [Table(("µs", "ours", "json_format", "ratio"), rows)],
        values={"conversion": dict(found)["both"]["ratio"]},
    )


def compare() -> Sequence[tuple[str, Mapping[str, float]]]:
    """The figures, measured in this process: microseconds of each way, and how many times faster ours is."""
    (ours, theirs) = _works()
    rounds: dict[str, list[tuple[float, float]]] = {what: [] for what in ours}
    for _ in range(_ROUNDS):
        for what in ours:
            rounds[what].append((_us(ours[what]), _us(theirs[what])))
    rounds["both"] = [(sum(us[0] for us in of), sum(us[1] for us in of)) for of in zip(*rounds.values(), strict=True)]
    return [(what, _figures(of)) for what, of in rounds.items()]


def _figures(rounds: Sequence[tuple[float, float]]) -> Mapping[str, float]:
    return {
        "ours": median(us for us, _ in rounds),
        "json_format": median(us for _, us in rounds),
        "ratio": median(theirs / ours for ours, theirs in rounds),
    }


def _us(work: Work) -> float:
    began = time.perf_counter()
    for _ in range(_TIMES):
        work()
    return (time.perf_counter() - began) / _TIMES * 1e6


def _works() -> tuple[Mapping[str, Work], Mapping[str, Work]]:
    method = next(m for m in load(descriptor_set()).methods if m.full_name.endswith("/ShareBackup"))
    json_map = JsonMap()
    read = json_map.reader(method.request, excluded=frozenset({"project_id"}))
    write = json_map.writer(method.response)
    answer = json_format.Parse(_ANSWER, method.response_class())

    def read_ours() -> Message:
        message = method.request_class()
        read(parse(_BODY, max_depth=100), message)
        return message

    def read_theirs() -> Message:
        return json_format.Parse(_BODY, method.request_class())

    def write_theirs() -> bytes:
        shown: dict[str, Any] = json_format.MessageToDict(answer, preserving_proto_field_name=True)
        return json.dumps(shown, separators=(",", ":")).encode()

    if read_ours() != read_theirs() or _without_nulls(dumps(write(answer))) != _without_nulls(write_theirs()):
        raise AssertionError("the two do not mean the same")
    return (
        {"read the body": read_ours, "write the answer": lambda: dumps(write(answer))},
        {"read the body": read_theirs, "write the answer": write_theirs},
    )


def _without_nulls(text: bytes) -> object:
    """What both say: ours also writes null for what is absent, and times without a zone."""
    (shared,) = json.loads(text)["shared"]
    return {name: value.removesuffix("Z") for name, value in shared.items() if value is not None}


if __name__ == "__main__":
    json.dump(compare(), sys.stdout)
