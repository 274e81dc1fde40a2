"""``backup-sharing-gateway``: the gateway with this service's descriptor set, name and environment prefix."""

from __future__ import annotations

from importlib import metadata, resources

from restmap_gateway.__main__ import main as run
from restmap_gateway.program import Program


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


def main() -> None:
    """Run the gateway with the settings of the command line."""
    run(PROGRAM)


if __name__ == "__main__":
    main()
