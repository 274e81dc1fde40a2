"""Gateway in front of a foreign descriptor set, with access to the requests that reach the server."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.gateway.foreign.system import Reply, System
from tests.support.programs import PATIENCE

Json = Any
"""Parsed JSON as Python objects."""


@dataclass(frozen=True, slots=True)
class Answer:
    """HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        return json.loads(self.body)

    @property
    def fields(self) -> list[str]:
        """Return the member names of the violations; the empty name stands for the whole body."""
        return [detail["field"] for detail in self.json["error"].get("details", [])]


class Foreign:
    """Gateway in front of the services of a descriptor set, and the echo server behind the gateway."""

    def __init__(self, system: System, descriptor_set: Path, **settings: Any) -> None:  # noqa: ANN401
        self.echo = system.echo
        self.pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(descriptor_set.read_bytes()).file:
            self.pool.Add(file)
        address = system.gateway(descriptor_set=descriptor_set, **({"docs": False} | settings))
        host, _, port = address.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)

    def close(self) -> None:
        self._connection.close()

    def message(self, name: str, text: str) -> Message:
        """Parse a message from protobuf's text format."""
        made: Message = GetMessageClass(self.pool.FindMessageTypeByName(name))()
        return text_format.Parse(text, made, descriptor_pool=self.pool)

    def answers(self, name: str, text: str) -> None:
        """Make the server reply to the next calls with this message."""
        self.echo.reply = Reply(self.message(name, text).SerializePartialToString())

    def call(
        self, request: str, body: str | bytes | None = None, headers: Sequence[tuple[str, str]] | None = None
    ) -> Answer:
        """Send ``METHOD TARGET``; a body is JSON unless the headers say otherwise."""
        method, _, target = request.partition(" ")
        sent = body.encode() if isinstance(body, str) else body
        if headers is None:
            headers = [] if sent is None else [("Content-Type", "application/json")]
        try:
            return self._sent(method, target, sent, headers)
        except BaseException:
            self._connection.close()  # the next test must not read leftover bytes
            raise

    def _sent(self, method: str, target: str, sent: bytes | None, headers: Sequence[tuple[str, str]]) -> Answer:
        self._connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            self._connection.putheader(name, value)
        if sent is not None:
            self._connection.putheader("Content-Length", str(len(sent)))
        self._connection.endheaders(sent)
        response = self._connection.getresponse()
        return Answer(response.status, response.headers, response.read())

    def asked(self) -> tuple[str, Message]:
        """Return method name and request of the only call that reached the server."""
        ((method, request),) = self.echo.seen
        service, _, name = method.lstrip("/").partition("/")
        descriptor = self.pool.FindServiceByName(service).methods_by_name[name].input_type
        made: Message = GetMessageClass(descriptor)()
        made.ParseFromString(request)
        return name, made

    def assert_asked(self, text: str) -> None:
        """Assert that the server received this request, given in protobuf's text format."""
        _, request = self.asked()
        assert request == self.message(request.DESCRIPTOR.full_name, text), text_format.MessageToString(
            request, as_one_line=True, descriptor_pool=self.pool
        )

    def assert_refused(self, answer: Answer, status: int, field: str) -> None:
        """Assert that the response is a failure that names the member, and that the server received no call."""
        assert answer.status == status, answer.body
        assert self.echo.seen == []
        assert field in answer.fields, answer.body
