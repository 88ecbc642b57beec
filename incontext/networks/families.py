"""The families of networks that can be saved and trained, and their configurations as tables of plain values."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, PlainSerializer
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.prompted import PromptedConfig, PromptedNet
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

NetworkConfig = SupportOnceConfig | CrossBlockConfig | PromptedConfig
Network = SupportOnceNet | CrossBlockNet
"""A network of a family that segments images by a support."""
SavedNetwork = Network | PromptedNet
"""A network of a family that can be saved and trained."""

FAMILIES: dict[str, tuple[type[NetworkConfig], type[SavedNetwork]]] = {
    "support-once": (SupportOnceConfig, SupportOnceNet),
    "cross-block": (CrossBlockConfig, CrossBlockNet),
    "prompted": (PromptedConfig, PromptedNet),
}
"""Classes of the configuration and of the network, by the name of their family."""


def describe(config: NetworkConfig) -> dict[str, Any]:
    """A network's configuration as a table that also names its family."""
    family = next(name for name, (kind, _) in FAMILIES.items() if isinstance(config, kind))
    return {"family": family, **dataclasses.asdict(config)}


def build(config: NetworkConfig) -> SavedNetwork:
    """Build a network with random weights, of the family that the configuration belongs to."""
    network_class: Callable[[Any], SavedNetwork] = FAMILIES[describe(config)["family"]][1]
    return network_class(config)


def _family(network: Any) -> str | None:
    if isinstance(network, dict):
        return str(network.get("family", "support-once"))
    return next((name for name, (kind, _) in FAMILIES.items() if isinstance(network, kind)), None)


def _without_family(network: Any) -> Any:
    """The settings of one family, if they are all settings of it."""
    if not isinstance(network, dict):
        return network
    known = {field.name for field in dataclasses.fields(FAMILIES[network.get("family", "support-once")][0])}
    if unknown := network.keys() - known - {"family"}:
        kind, found = "unknown_setting", {"known": ", ".join(sorted(known)), "unknown": ", ".join(sorted(unknown))}
        raise PydanticCustomError(kind, "expected settings out of {known}, got {unknown}", found)
    return {name: value for name, value in network.items() if name != "family"}


class _OfAnyFamily:
    """Tells pydantic to read a network's configuration as that of the family which the table names."""

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.tagged_union_schema(
            {
                name: core_schema.no_info_before_validator_function(_without_family, handler.generate_schema(kind))
                for name, (kind, _) in FAMILIES.items()
            },
            _family,
            custom_error_type="unknown_family",
            custom_error_message=f"expected a table whose family is {' or '.join(FAMILIES)}",
        )


NetworkTable = Annotated[NetworkConfig, _OfAnyFamily(), PlainSerializer(describe)]
"""The shape of a network; as a table, its fields beside the name of its `family`."""
