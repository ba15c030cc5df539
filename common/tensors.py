"""Tensors on disk: one safetensors file each, its JSON metadata inside, written atomically."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from common.errors import CheckpointError, one_line
from common.files import write_bytes
from common.json_files import parse_json

_MOST_HEADER_BYTES = 2**25
"""Most bytes of a safetensors header that are read; those of the largest models have fewer."""
_REMEDY = "delete it and run the stage again"

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
    clean = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"kind": kind, "content": json.dumps(metadata, sort_keys=True)}
    header["sha256"] = tensors_sha256(header["kind"] + header["content"], clean)
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
        check_header(path)
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {path}") from error
    except IsADirectoryError as error:
        raise CheckpointError(f"{path} is a folder: name the checkpoint in it") from error
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged or no checkpoint ({one_line(error)}): {_REMEDY}"
        ) from error
    if header.get("kind") != kind:
        raise CheckpointError(
            f"{path} holds {header.get('kind', 'something unknown')!r}, but {kind!r} is needed"
        )
    if tensors_sha256(kind + header.get("content", ""), tensors) != header.get("sha256"):
        raise CheckpointError(
            f"{path} is damaged (it does not match its sha256) or of an earlier version: {_REMEDY}"
        )
    with fitting(path):
        return tensors, dict(parse_json(header["content"].encode()))


def tensors_sha256(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of a text and of tensors with their names, shapes and types."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_header(path: Path) -> None:
    """Look through a safetensors file's header before anything is allocated for it.

    Raises:
        OSError: it cannot be read.
        ValueError: the header is longer than the file, no JSON, or does not describe what follows
            it; a few words.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MOST_HEADER_BYTES):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        header = parse_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("the header is no JSON object")
    ends = [_end(name, entry) for name, entry in header.items() if name != "__metadata__"]
    if max(ends, default=0) != size - 8 - length:
        raise ValueError("the header does not describe what follows it")


def _end(name: str, entry: Any) -> int:
    """Return where a tensor ends after the header."""
    try:
        start, end = entry["data_offsets"]
        if not (0 <= start <= end and all(type(n) is int and n >= 0 for n in entry["shape"])):
            raise ValueError(f"{name} has no place")
        return int(end)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the header does not say where {name} is") from error


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file's content, whose digest is right, into one line.

    Raises:
        CheckpointError: its metadata or tensors are not what is made of them in the block.
    """
    try:
        yield
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        raise CheckpointError(
            f"{path} is of another version, or not ours ({one_line(error)}): {_REMEDY}"
        ) from error


def load_module(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put tensors into a module.

    Raises:
        CheckpointError: names or shapes differ from the module's.
    """
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(f"the weights in {path} do not fit: {one_line(error)}") from error


def build_module[Module: nn.Module](
    make: Callable[[], Module], tensors: Mapping[str, Tensor], path: Path
) -> Module:
    """Return a module with a file's tensors, allocated only if they are of its names and shapes.

    Raises:
        CheckpointError: they are not.
    """
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in make().state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
        raise CheckpointError(f"the weights in {path} do not fit its own description: {_REMEDY}")
    module = make()
    load_module(module, tensors, path)
    return module


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
