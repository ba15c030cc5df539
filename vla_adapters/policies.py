"""The models that the harness can be asked for by name; each is imported when it is needed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelKind:
    """One kind of model."""

    load: str
    """`module:function` of its loader: what follows the kind's name and colon, the harness's
    setting -> policy."""
    needs: str
    """What follows the kind's name and colon."""


MODELS = {
    "lerobot": ModelKind("vla_adapters.lerobot.policy:load", "a folder or a name on the hub"),
    "openvla": ModelKind("vla_adapters.openvla.policy:load", "a folder or a name on the hub"),
    "openvla_oft": ModelKind(
        "vla_adapters.openvla_oft.policy:load", "a folder or a name on the hub"
    ),
}
"""Kind -> how to load it. A new kind of model is one line here."""
