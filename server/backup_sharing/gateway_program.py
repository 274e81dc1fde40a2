"""``backup-sharing-gateway``: the gateway with this service's descriptor set, name and environment prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata, resources
from typing import TYPE_CHECKING

from restmap_gateway.config import settings_of
from restmap_gateway.program import Program

if TYPE_CHECKING:
    from programkit.doctor.findings import Check


def descriptor_set() -> bytes:
    """Return the serialized descriptor set of this service."""
    return resources.files("backupsharing").joinpath("image.binpb").read_bytes()


PROGRAM = Program(
    name="backup-sharing-gateway",
    environment_prefix="BACKUP_SHARING_",
    distribution="backup-sharing",
    descriptor_set=descriptor_set,
    api_version=lambda: metadata.version("backup-sharing"),
)
"""The gateway as configured for this service."""

Settings = settings_of(PROGRAM)
"""Settings of the gateway, for the commands that print and check them."""


def checks(arguments: Sequence[str], seconds: float) -> Mapping[str, Check]:
    """Return the checks of the gateway with these settings, for ``backup-sharing doctor``.

    Raises:
        CannotReload: the settings are invalid.
    """
    # The gateway's program does not need these when it starts.
    from programkit.process.reloads import loaded
    from restmap_gateway import config, doctor

    return doctor.checks(loaded(lambda: config.load(arguments, PROGRAM)), seconds)


def main() -> None:
    """Run the gateway with the settings of the command line."""
    from restmap_gateway.__main__ import main as run  # it imports the whole gateway, whose settings do not need it

    run(PROGRAM)


if __name__ == "__main__":
    main()
