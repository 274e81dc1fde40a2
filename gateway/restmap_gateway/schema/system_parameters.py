"""Names of query parameters that are not fields of a request: the system parameters of Google's APIs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from restmap.v1 import restmap_pb2
from restmap_gateway.schema.descriptor_set import DescriptorSet
from restmap_gateway.schema.restmap_options import of_file

ALT: Final = "$alt"
"""The parameter that selects the form of a response."""

STANDARD: Final = frozenset(
    {
        *(ALT, "$.xgafv", "$apiFormat", "$apiVersion", "$callback", "$ct", "$fields", "$key"),
        *("$outputDefaults", "$prettyPrint", "$unique"),
    }
)
"""Parameters of cloud.google.com/apis/docs/system-parameters whose names begin with ``$``."""


@dataclass(frozen=True, slots=True)
class SystemParameters:
    """The parameters that every call accepts beside the fields of its request."""

    names: frozenset[str] = frozenset()
    """All accepted names."""

    @property
    def alt(self) -> frozenset[str]:
        """Return those that select the form of the response."""
        return self.names & {ALT, "alt"}


def read_system_parameters(descriptors: DescriptorSet) -> SystemParameters:
    """Return the parameters of a set: those of its option, or the standard ones if no file imports the options."""
    option = next((found for file in descriptors.files if (found := of_file(file)).HasField("system_parameters")), None)
    if option is not None:
        own = option.system_parameters
        return SystemParameters((STANDARD if own.standard else frozenset()) | frozenset(own.names))
    options = restmap_pb2.DESCRIPTOR.name
    if any(one.name == options for file in descriptors.files for one in file.dependencies):
        return SystemParameters()
    return SystemParameters(STANDARD)
