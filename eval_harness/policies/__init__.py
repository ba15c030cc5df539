"""Policies by the name that the command line gives them; each kind is imported when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.hub import why_no_folder
from eval_harness.policy import Policy, PolicyError
from eval_harness.protocols import Protocol
from simulation.assets.resolve import AssetPack


@dataclass(frozen=True)
class Setting:
    """What a policy may be made for."""

    protocol: Protocol
    """The protocol under which it will be run."""
    seed: int = 0
    """The evaluation's seed."""
    assets: AssetPack | None = None
    """Asset pack; by default the first that `resolve_assets` finds."""


Loader = Callable[[str, Setting], Policy]
"""From what follows the kind's name and colon, to the policy."""


def load_policy(
    spec: str, protocol: Protocol, seed: int = 0, assets: AssetPack | None = None
) -> Policy:
    """Return the policy that a name stands for.

    Args:
        spec: `random`, `scripted`, `replay:FOLDER`, `generator:PATH[#pattern,noise=x]`,
            `lerobot:PATH_OR_HUB_ID`, `openvla:PATH_OR_HUB_ID[#statistics]`,
            `openvla_oft:PATH_OR_HUB_ID[#statistics,cameras=N,chunk=N]`, `openpi://HOST:PORT` or
            `vla-eval://HOST:PORT[#chunk=K]`; a folder or hub id alone is loaded as what its
            `config.json` says; `module:Class` or `file.py:Class[#name=value]` is the user's own
            code, which is run.
        protocol: the protocol under which it will be run.
        seed: the evaluation's seed.
        assets: asset pack; by default the first that `resolve_assets` finds.

    Raises:
        PolicyError: no kind of policy has this name, or it cannot be loaded.
    """
    kind, _, rest = spec.partition(":")
    if kind not in LOADERS | _models() and (found := _recognise(spec)):
        kind, rest = found, spec
    if kind not in LOADERS | _models() and (own := _own(spec)):
        return own
    if kind not in LOADERS | _models():
        raise PolicyError(
            f"unknown policy {spec!r}; there are random, scripted, replay:FOLDER, "
            "generator:PATH[#pattern,noise=x], lerobot:PATH_OR_HUB_ID, "
            "openvla:PATH_OR_HUB_ID[#statistics], "
            "openvla_oft:PATH_OR_HUB_ID[#statistics,cameras=N,chunk=N], openpi://HOST:PORT, "
            "vla-eval://HOST:PORT[#chunk=K], the folder or hub id of a checkpoint, and your own "
            "code as module:Class or file.py:Class"
        )
    model = _models().get(kind)
    needs = model.needs if model else _NEED_MORE.get(kind)
    if needs and not rest.strip("/"):
        raise PolicyError(f"the policy {spec!r} lacks what follows the colon: {needs}")
    if model and (reason := why_no_folder(rest.partition("#")[0])):
        raise PolicyError(reason)
    load = import_string(model.load) if model else LOADERS[kind]
    policy: Policy = load(rest, Setting(protocol, seed, assets))
    return policy


def _models() -> dict[str, Any]:
    """Return the table of models, which live on a floor above and are reached by name alone."""
    return dict(import_string(_MODEL_TABLE))


def import_string(name: str) -> Any:
    """Return the object `name` of a module, given as `module:name`."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _recognise(spec: str) -> str | None:
    from eval_harness.policies.recognise import recognise

    return recognise(spec.partition("#")[0])


def _own(spec: str) -> Policy | None:
    from eval_harness.policies import own

    return own.load(spec) if own.is_own(spec) else None


def _random(rest: str, setting: Setting) -> Policy:
    from eval_harness.policies.random import RandomPolicy

    if not (rest or "1").isdecimal() or int(rest or 1) < 1:
        raise PolicyError(f"random:{rest}: what follows the colon is the chunk, 1 or more")
    return RandomPolicy(chunk=int(rest or 1))


def _scripted(rest: str, setting: Setting) -> Policy:
    from eval_harness.policies.scripted import ScriptedPolicy

    return ScriptedPolicy(setting.protocol, setting.seed, setting.assets)


def _replay(rest: str, setting: Setting) -> Policy:
    from pathlib import Path

    from eval_harness.policies.replay import ReplayPolicy

    return ReplayPolicy.of_folder(Path(rest), setting.assets)


def _generator(rest: str, setting: Setting) -> Policy:
    from eval_harness.policies.generator import GeneratorPolicy

    return GeneratorPolicy.load(rest)


def _openpi(rest: str, setting: Setting) -> Policy:
    from eval_harness.remote.openpi import OpenPiPolicy

    return OpenPiPolicy(f"openpi:{rest}")


def _vla_eval(rest: str, setting: Setting) -> Policy:
    from eval_harness.remote.vla_eval import VlaEvalPolicy

    address, chunked, chunk = rest.partition("#chunk=")
    if chunked and (not chunk.isdecimal() or int(chunk) < 1):
        raise PolicyError(f"vla-eval:{rest}: #chunk= is the actions of a reply, 1 or more")
    return VlaEvalPolicy(f"vla-eval:{address}", int(chunk or 1))


_MODEL_TABLE = "vla_adapters.policies:MODELS"
LOADERS: dict[str, Loader] = {
    "random": _random,
    "scripted": _scripted,
    "replay": _replay,
    "generator": _generator,
    "openpi": _openpi,
    "vla-eval": _vla_eval,
}
"""Kind -> loader, of those that need no model; `vla_adapters.policies` has the others."""
_NEED_MORE = {
    "replay": "a folder of demonstrations or trajectories",
    "generator": "a policy.safetensors, or a recipe's folder",
    "openpi": "//HOST:PORT",
    "vla-eval": "//HOST:PORT",
}
