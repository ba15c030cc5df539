"""Checkpoints: one safetensors file each, its JSON metadata inside, written atomically."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import CheckpointError
from common.tensors import load_module, load_tensors, save_tensors
from common.versions import package_versions
from generator.policies import POLICIES
from generator.policies.policy import Policy

_RECORDED_PACKAGES = ("torch", "numpy", "scikit-learn", "mujoco", "robosuite", "hf-libero")


def versions() -> dict[str, str]:
    """Return the versions that a result of learning depends on, by package."""
    return {"python": platform.python_version(), **package_versions(_RECORDED_PACKAGES)}


def policy_hash(policy: Policy) -> str:
    """Return the sha256 of a policy's architecture and weights."""
    digest = hashlib.sha256(json.dumps(policy.architecture(), sort_keys=True).encode())
    for name, tensor in sorted(policy.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


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
    if metadata.get("kind") not in POLICIES:
        raise CheckpointError(
            f"{path} holds a policy of the kind {metadata.get('kind')!r}; known are "
            f"{', '.join(POLICIES)}: train it again"
        )
    policy = POLICIES[metadata["kind"]](**metadata["architecture"])
    load_module(policy, tensors, path)
    if policy_hash(policy) != metadata["policy_hash"]:
        raise CheckpointError(f"the weights in {path} do not fit their hash: delete it and retrain")
    return policy.eval(), metadata
