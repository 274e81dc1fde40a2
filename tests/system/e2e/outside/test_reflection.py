"""Server reflection: clients can make calls without our proto files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.support.programs import PATIENCE
from tests.support.system import Project, System

SERVICE = "backupsharing.v2.BackupSharingService"


def test_stubs_made_from_reflection_alone_can_call(system: System, idle: Project) -> None:
    with grpc.insecure_channel(system.grpc_address) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        method = pool.FindServiceByName(SERVICE).FindMethodByName("CountSharings")
        call = channel.unary_unary(
            f"/{SERVICE}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        request = GetMessageClass(method.input_type)(project_id=idle.id)
        answer = call(request, metadata=[("x-auth-token", idle.token)], timeout=PATIENCE)
    assert answer.count == 0


def test_buf_calls_with_reflection_alone(system: System, idle: Project, tmp_path: Path) -> None:
    buf = Path(sys.executable).with_name("buf")
    options = ("--protocol", "grpc", "--http2-prior-knowledge", "--emit-defaults")
    url = f"http://{system.grpc_address}/{SERVICE}/CountSharings"
    called = subprocess.run(
        [
            buf,
            "curl",
            *options,
            "--header",
            f"x-auth-token: {idle.token}",
            "--data",
            f'{{"project_id":"{idle.id}"}}',
            url,
        ],
        cwd=tmp_path,  # outside the checkout and its protos
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert called.returncode == 0, called.stderr
    assert json.loads(called.stdout) == {"count": 0}
