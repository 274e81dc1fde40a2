"""Real Keystone, server and gateway for clients."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.support.ports import free_address
from tests.support.programs import Programs
from tests.system.interop.rows import ROOT, Place
from tests.system.interop.tamper import Tampering, tampering
from tests.system.keystone.real import RealKeystone

KEYSTONE = ROOT / "build" / "keystone" / "bin" / "python"
"""Python of Keystone; ``make interop`` installs it."""

USER = "gina"


@contextmanager
def running_place(tampers: Tampering | None = None) -> Iterator[Place]:
    """Start everything, and stop everything at the end; ``tampers`` corrupts the gateway's responses."""
    with tempfile.TemporaryDirectory(prefix="interop-") as name, Programs() as programs:
        folder, gateway_address, grpc_address = Path(name), free_address(), free_address()
        with tampering(gateway_address, tampers) as rest_address:
            keystone = RealKeystone(KEYSTONE, folder)
            keystone.start()
            try:
                place, services = _people(keystone, rest_address)
                files = ("--database", str(folder / "sharings.db"), "--keystone-url", keystone.url)
                # Keystone is slow during concurrent client builds.
                patience = ("--keystone-timeout", "30", "--stop-on-stdin-close")
                trusted = ("--keystone-service-project", services)
                server = programs.start("server", "--grpc-listen", grpc_address, *files, *patience, *trusted)
                server.wait_for('"event":"serving"')
                # GatewayPeers in responses must use the address that clients use.
                programs.gateway(gateway_address, grpc_address, "--public-url", f"http://{rest_address}")
                yield replace(place, grpc=grpc_address)
            finally:
                keystone.stop()


def _people(keystone: RealKeystone, rest_address: str) -> tuple[Place, str]:
    """Create projects, users and the catalogue in Keystone; also return the project for the role ``service``."""
    giver, recipient, other, services = (
        keystone.create("project", name=name, domain_id="default")
        for name in ("giver", "recipient", "other", "services")
    )
    roles = (
        (USER, "member", giver),
        (USER, "member", recipient),
        (USER, "member", other),
        ("sam", "service", services),
    )
    users: dict[str, str] = {}
    for name, role, project in roles:
        if name not in users:
            users[name] = keystone.create("user", name=name, password=name, domain_id="default")
        keystone.grant(role, users[name], project)
    keystone.grant("reader", users[USER])  # The Terraform provider logs in to the domain and to the project.
    for kind in ("vbs", "vbsv2", "volumev2"):
        service = keystone.create("service", name=kind, type=kind)
        url = f"http://{rest_address}/v2/$(project_id)s"
        keystone.create("endpoint", service_id=service, interface="public", region_id="RegionOne", url=url)
    place = Place(
        rest=f"http://{rest_address}",
        grpc="",
        keystone=f"{keystone.url}/v3",
        user=USER,
        password=USER,
        service_token=keystone.token("sam", "sam", keystone.of_project("services")),
        project=giver,
        token=keystone.token(USER, USER, keystone.of_project("giver")),
        recipient=recipient,
        recipient_token=keystone.token(USER, USER, keystone.of_project("recipient")),
        other=other,
    )
    return place, services
