"""Checkpoints: one safetensors file each, its JSON metadata inside, written atomically."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import CheckpointError
from common.files import write_json
from common.json_files import read_json
from common.tensors import (
    build_module,
    fitting,
    load_tensors,
    save_tensors,
    tensors_sha256,
)
from common.versions import package_versions
from generator.policies import POLICIES
from generator.policies.policy import Policy

COST = "cost.json"
"""File beside a stage's result that says what it took; it differs from run to run."""
TRAINING = "training.safetensors"
"""What cloning and PPO go on from."""
GATHERED = "gathered.safetensors"
"""Successes of filtered cloning so far."""
ENCODER, ENCODER_TRAINING = "encoder.safetensors", "encoder_training.safetensors"
"""An encoder that is trained, or is still being."""
SPENT = "spent.json"
"""CPU seconds of all tries so far."""
UNFINISHED = frozenset((TRAINING, GATHERED, ENCODER, ENCODER_TRAINING, SPENT))
"""Files in a stage's folder from which it goes on, until its record is there. Where one is what
the stage makes, as `discover` an encoder, it stays."""
_RECORDED_PACKAGES = ("torch", "numpy", "scikit-learn", "mujoco", "robosuite", "hf-libero")


def versions() -> dict[str, str]:
    """Return the versions that a result of learning depends on, by package."""
    return {"python": platform.python_version(), **package_versions(_RECORDED_PACKAGES)}


def policy_hash(policy: Policy) -> str:
    """Return the sha256 of a policy's architecture and weights."""
    return tensors_sha256(json.dumps(policy.architecture(), sort_keys=True), policy.state_dict())


def save_policy(path: Path, policy: Policy, metadata: Mapping[str, Any]) -> str:
    """Write a policy with metadata, its versions and its hash; return the hash."""
    digest = policy_hash(policy)
    content = {
        **metadata,
        "kind": next(kind for kind, cls in POLICIES.items() if type(policy) is cls),
        "architecture": policy.architecture(),
        "versions": versions(),
        "policy_hash": digest,
    }
    save_tensors(path, "policy", policy.state_dict(), content)
    return digest


def load_policy(path: Path) -> tuple[Policy, dict[str, Any]]:
    """Read a policy and its metadata.

    Raises:
        CheckpointError: as `load_tensors`, or the weights do not fit their hash.
    """
    tensors, metadata = load_tensors(path, "policy")
    with fitting(path):
        if metadata["kind"] not in POLICIES:
            raise CheckpointError(
                f"{path} holds a policy of the kind {metadata['kind']!r}; known are "
                f"{', '.join(POLICIES)}: train it again"
            )
        make = POLICIES[metadata["kind"]]
        policy = build_module(lambda: make(**metadata["architecture"]), tensors, path)
        fits = policy_hash(policy) == metadata["policy_hash"]
    if not fits:
        raise CheckpointError(f"the weights in {path} do not fit their hash: delete it and retrain")
    return policy.eval(), metadata


def add_cost(folder: Path, figures: Mapping[str, float]) -> None:
    """Add figures of what a stage took to those in its folder."""
    write_json(folder / COST, read_cost(folder) | dict(figures))


def read_cost(folder: Path) -> dict[str, float]:
    """Return what a stage took, such as `cpu_seconds`; nothing where that was not written.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / COST
    if not path.exists():
        return {}
    remedy = "delete it: only what the stage took is lost"
    return dict(read_json(path, "what a stage took", CheckpointError, remedy))
