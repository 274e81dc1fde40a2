"""The instructions in protos/restmap/README.md work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.programs import PATIENCE, ROOT, environment

README = (ROOT / "protos" / "restmap" / "README.md").read_text(encoding="utf-8")
CALLED = """
import asyncio, grpc, tea_pb2, tea_pb2_grpc
from multiplex.v1 import multiplex_pb2 as pb, multiplex_pb2_grpc
from restmap.multiplexing import Handlers, Multiplexer

class Tea(tea_pb2_grpc.TeaServiceServicer):
    async def Brew(self, request, context):
        return request

async def main():
{server}
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{{port}}") as channel:
        cup = tea_pb2.Cup(sort="green")
        assert await tea_pb2_grpc.TeaServiceStub(channel).Brew(cup) == cup
        stream = multiplex_pb2_grpc.MultiplexServiceStub(channel).Multiplex()
        call = pb.Call(id=1, method="/tea.v1.TeaService/Brew", request=cup.SerializeToString())
        await stream.write(pb.MultiplexRequest(calls=[call]))
        await stream.read()
        [answer] = (await stream.read()).answers
        assert tea_pb2.Cup.FromString(answer.response) == cup
        multiplexer.drain()
    await server.stop(0)
    await multiplexer.closed()

asyncio.run(main())
"""


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_a_service_of_ones_own_takes_calls_in_a_stream(tmp_path: Path) -> None:
    (tmp_path / "tea.proto").write_text(block("proto"))
    server = "".join(f"    {line}\n" for line in block("python").splitlines())
    (tmp_path / "main.py").write_text(CALLED.format(server=server))
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    script = f"set -e\n{block('sh')}\npython main.py"
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={**environment(), "PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_page_is_short() -> None:
    assert len(README.splitlines()) <= 40
