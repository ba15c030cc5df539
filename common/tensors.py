"""Tensors on disk: one safetensors file each, its JSON metadata inside, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from common.errors import CheckpointError
from common.files import write_bytes

_LENGTH = 8
"""Bytes of a safetensors file that hold its header's length; the header is padded to it."""


def save_tensors(
    path: Path, kind: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> None:
    """Write tensors and JSON metadata into one safetensors file, atomically.

    Equal content has equal bytes, in whichever order and process it is written.

    Args:
        path: where to.
        kind: what the file is, checked when it is read.
        tensors: by name.
        metadata: anything JSON can hold; floats come back exactly.
    """
    clean = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    header = {"kind": kind, "content": json.dumps(metadata, sort_keys=True)}
    write_bytes(path, _in_order(save(clean, header)))


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with its header sorted: the library's order changes by the call.

    The file is 8 bytes of the header's length, little-endian, the header, and the numbers.
    """
    start = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    header = json.dumps(json.loads(content[_LENGTH:start]), sort_keys=True, separators=(",", ":"))
    text = header.encode()
    text += b" " * (-len(text) % _LENGTH)
    return len(text).to_bytes(_LENGTH, "little") + text + content[start:]


def load_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, or of another kind.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {path}") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or no checkpoint ({error}): delete it and run the stage again"
        ) from error
    if header.get("kind") != kind:
        raise CheckpointError(
            f"{path} holds {header.get('kind', 'something unknown')!r}, but {kind!r} is needed"
        )
    return tensors, json.loads(header["content"])


def load_module(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put tensors into a module.

    Raises:
        CheckpointError: names or shapes differ from the module's.
    """
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(f"the weights in {path} do not fit: {error}") from error


def optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as named tensors; its step size is not among them."""
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}.{index}.{name}": tensor
        for index, entries in state.items()
        for name, tensor in entries.items()
    }


def load_optimizer(
    prefix: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in select(prefix, tensors).items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with `prefix.` before each name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def select(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `prefixed`: return the tensors whose name starts with `prefix.`."""
    start = f"{prefix}."
    return {name[len(start) :]: t for name, t in tensors.items() if name.startswith(start)}
