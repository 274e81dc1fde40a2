"""A gRPC server that answers each call with what was sent; needs nothing of this checkout, so that any grpcio does."""

from __future__ import annotations

import asyncio
import os
import sys

import grpc
import uvloop


async def _echo(request: bytes, context: object) -> bytes:
    return request


async def _serve(address: str) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"Echo": grpc.unary_unary_rpc_method_handler(_echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", methods),))
    server.add_insecure_port(address)
    await server.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    if hasattr(os, "SCHED_BATCH"):  # as our server does
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    uvloop.run(_serve(sys.argv[1]))
