"""``backup-sharing demo``: server and gateway as two processes that start and stop together."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Coroutine, Sequence
from pathlib import Path

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from backup_sharing.admin import demo_example
from backup_sharing.admin.demo_example import Addresses
from backup_sharing.exit_status import DISK_FAILED
from backup_sharing.identity.static import BadTokenFile, add_token
from backup_sharing.listening import CannotListen, check_free

START_SECONDS = 20.0
STOP_SECONDS = 20.0

MOST_RECOVERIES = 3
"""Maximum number of server restarts after `DISK_FAILED`."""

_PACKAGES = {"server": "backup_sharing", "gateway": "backup_sharing.gateway_program"}
"""The argument of ``python -m`` for each program."""


class DemoFailed(Exception):
    """The demo cannot run; the message has the reason."""


@click.command()
@click.option("--listen", default="127.0.0.1:8080", help="HOST:PORT for REST; loopback only.")
@click.option("--grpc-listen", default="127.0.0.1:50051", help="HOST:PORT for gRPC; loopback only.")
@click.option("--admin-listen", default="127.0.0.1:8081", help="HOST:PORT for the gateway's health and metrics.")
@click.option("--grpc-admin-listen", default="127.0.0.1:50052", help="HOST:PORT for the server's health and metrics.")
@click.option("--data", type=click.Path(path_type=Path), default=Path("data"), help="Folder for database and tokens.")
def demo(listen: str, grpc_listen: str, admin_listen: str, grpc_admin_listen: str, data: Path) -> None:
    """Run server and gateway on this machine, with the documented example data.

    Both stop together. All data stays in the data folder; the next run of the demo uses it again.
    """
    try:
        addresses = Addresses(listen, grpc_listen, admin_listen, grpc_admin_listen)
        sys.exit(asyncio.run(run_demo(addresses, data)))
    except DemoFailed as error:
        raise click.ClickException(str(error)) from None


async def run_demo(addresses: Addresses, data: Path) -> int:
    """Run until a signal arrives or a process ends; return the exit code.

    A server that ends with `DISK_FAILED` is restarted up to `MOST_RECOVERIES` times: the new one recovers the database.
    Each process drains when its standard input closes, so both also stop if this process is killed.

    Raises:
        DemoFailed: an address is not on loopback, the folder cannot be used, or a process does not start.
    """
    _check(addresses)
    tokens = _write_tokens(data)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    processes: list[Process] = []
    try:
        database = data / "backup-sharing.db"
        files = ("--database", str(database), "--migrate", "--tokens", str(tokens))
        # No drain notice: there is no other server to send calls to.
        listening = ("--grpc-listen", addresses.grpc, "--admin-listen", addresses.server_admin)
        arguments = (*listening, *files, "--drain-notice", "0")
        processes.append(await _start("server", data, *arguments))
        async with grpc.aio.insecure_channel(addresses.grpc) as channel:
            await _until(_server_ready(channel), processes[0], stop, data)
            await demo_example.seed(channel)
            shared = await demo_example.is_shared(channel)
        serving = ("--listen", addresses.rest, "--admin-listen", addresses.gateway_admin, "--upstream", addresses.grpc)
        processes.append(await _start("gateway", data, *serving, "--drain-notice", "0"))
        await _until(_gateway_ready(addresses.rest), processes[1], stop, data)
        if not stop.is_set():
            click.echo(demo_example.banner(addresses, data, shared=shared))
        return await _keep_running(processes, stop, data, arguments)
    finally:
        await _stop(processes)


def _check(addresses: Addresses) -> None:
    seen: set[str] = set()
    for address in (addresses.rest, addresses.grpc, addresses.gateway_admin, addresses.server_admin):
        _check_loopback(address)
        try:
            check_free(address)
        except CannotListen as error:
            raise DemoFailed(str(error)) from error
        if address in seen:
            raise DemoFailed(f"{address}: is given twice, for different uses; choose another port for one of them")
        seen.add(address)


def _check_loopback(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = False
    if not loopback or not port.isdigit():
        raise DemoFailed(
            f"{address}: the demo's tokens are public, so it listens on loopback only:"
            " expected 127.0.0.1:PORT, localhost:PORT or [::1]:PORT"
        )


def _write_tokens(data: Path) -> Path:
    path = data / "tokens.json"
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        for demo in demo_example.TOKENS:
            add_token(path, demo.project_id, demo.roles, demo.user_id, None, token=demo.token)
    except (OSError, BadTokenFile) as error:
        raise DemoFailed(f"{data}: cannot be used: {error}") from error
    return path


async def _start(program: str, data: Path, *arguments: str) -> Process:
    # A new session, so that Ctrl-C reaches only this process, which stops the others in order;
    # -P, so that a folder with the package's name in the working directory is not imported.
    command = (sys.executable, "-P", "-m", _PACKAGES[program], *arguments, "--stop-on-stdin-close")
    with (data / f"{program}.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stderr=log, start_new_session=True)


def _last_words(data: Path) -> str:
    """Return the end of the log of the process that wrote last."""
    log = max(data.glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
    return log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()


async def _until(ready: Coroutine[None, None, None], process: Process, stop: asyncio.Event, data: Path) -> None:
    """Wait until ``ready`` is done or ``stop`` is set; raise `DemoFailed` if the process ends or the time is over."""
    waiting = [asyncio.ensure_future(task) for task in (ready, process.wait(), stop.wait())]
    try:
        await asyncio.wait(waiting, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if waiting[1].done():
            raise DemoFailed(f"the program could not be started: {_last_words(data)}")
        if not any(task.done() for task in waiting):
            raise DemoFailed(f"the program was not ready within {START_SECONDS:.0f} seconds")
        if waiting[0].done():
            waiting[0].result()
    finally:
        for task in waiting:
            task.cancel()


async def _server_ready(channel: grpc.aio.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)


async def _gateway_ready(listen: str) -> None:
    host, _, port = listen.rpartition(":")
    while True:
        try:
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def _keep_running(processes: list[Process], stop: asyncio.Event, data: Path, arguments: Sequence[str]) -> int:
    """Supervise the processes, and restart the server after `DISK_FAILED`."""
    for times in range(1, MOST_RECOVERIES + 1):
        code = await _supervise(processes, stop, data)
        if processes[0].returncode != DISK_FAILED:
            return code
        click.echo(f"the server's disk failed; restart {times} of {MOST_RECOVERIES}", err=True)
        processes[0] = await _start("server", data, *arguments)
    return await _supervise(processes, stop, data)


async def _supervise(processes: list[Process], stop: asyncio.Event, data: Path) -> int:
    """Wait for a signal (return 0) or for the first process to end by itself (return its code, or 1)."""
    waiting = [asyncio.ensure_future(process.wait()) for process in processes]
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([*waiting, stopping], return_when=asyncio.FIRST_COMPLETED)
    ended = next((process for process in processes if process.returncode is not None), None)
    for task in (*waiting, stopping):
        task.cancel()
    if ended is None:
        return 0
    name = ("server", "gateway")[processes.index(ended)]
    click.echo(f"the {name} ended with {ended.returncode}; {data / name}.log may say why", err=True)
    return abs(ended.returncode or 1)


async def _stop(processes: list[Process]) -> None:
    """Drain the gateway, then the server; kill each process that does not end in time."""
    for process in reversed(processes):
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
