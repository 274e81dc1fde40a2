"""Descriptor sets of foreign services, and what a gateway made of a request to one of them."""

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

from tests.gateway.foreign.house import House, Reply
from tests.support.programs import PATIENCE

Json = Any
"""What JSON says, as plain Python."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        return json.loads(self.body)

    @property
    def fields(self) -> list[str]:
        """The members that a refusal names; an empty one for the body as a whole."""
        return [detail["field"] for detail in self.json["error"].get("details", [])]


class Foreign:
    """A gateway in front of services of a descriptor set, and the server that echoes behind it."""

    def __init__(self, house: House, descriptor_set: Path, **settings: Any) -> None:  # noqa: ANN401
        self.echo = house.echo
        self.pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(descriptor_set.read_bytes()).file:
            self.pool.Add(file)
        address = house.gateway(descriptor_set=descriptor_set, docs=False, **settings)
        host, _, port = address.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)

    def close(self) -> None:
        self._connection.close()

    def message(self, name: str, text: str) -> Message:
        """A message in protobuf's text form."""
        made: Message = GetMessageClass(self.pool.FindMessageTypeByName(name))()
        return text_format.Parse(text, made, descriptor_pool=self.pool)

    def answers(self, name: str, text: str) -> None:
        """Have the server answer the next calls with this message."""
        self.echo.reply = Reply(self.message(name, text).SerializePartialToString())

    def call(
        self, request: str, body: str | bytes | None = None, headers: Sequence[tuple[str, str]] | None = None
    ) -> Answer:
        """Send ``METHOD TARGET``; a body is JSON, unless the headers say otherwise."""
        method, _, target = request.partition(" ")
        sent = body.encode() if isinstance(body, str) else body
        if headers is None:
            headers = [] if sent is None else [("Content-Type", "application/json")]
        try:
            return self._sent(method, target, sent, headers)
        except BaseException:
            self._connection.close()  # the next test must not read what this one left
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
        """The only call that reached the server: the method's name and the request."""
        ((method, request),) = self.echo.seen
        service, _, name = method.lstrip("/").partition("/")
        descriptor = self.pool.FindServiceByName(service).methods_by_name[name].input_type
        made: Message = GetMessageClass(descriptor)()
        made.ParseFromString(request)
        return name, made

    def assert_asked(self, text: str) -> None:
        """The server was asked this, in protobuf's text form."""
        _, request = self.asked()
        assert request == self.message(request.DESCRIPTOR.full_name, text), text_format.MessageToString(
            request, as_one_line=True, descriptor_pool=self.pool
        )

    def assert_refused(self, answer: Answer, status: int, field: str) -> None:
        """The answer is a failure of this status that names the member, and the server was not asked."""
        assert answer.status == status, answer.body
        assert self.echo.seen == []
        assert field in answer.fields, answer.body
