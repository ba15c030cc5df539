"""Folders of a training: whole or not at all, safetensors and JSON, the last good one kept."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from common.errors import DlrError, one_line
from common.files import follow_umask, output_errors
from common.json_files import read_sealed, write_sealed
from common.manifest import file_sha256
from common.tensors import check_header, load_optimizer, optimizer_tensors, prefixed, select

DESCRIPTION = "training.json"
"""File of a checkpoint that says how it came about."""
_STATES, _STATE = "resume", "state.safetensors"
_STEP = "step_{:09d}"


class TrainingError(DlrError, RuntimeError):
    """A training cannot go on; the message says why, and what is left."""


@dataclass(frozen=True)
class State:
    """What a training goes on from."""

    step: int
    """Steps taken."""
    decisive: dict[str, Any]
    """The settings, as `TrainConfig.decisive` gives them, and the data's digest."""
    tensors: dict[str, torch.Tensor]
    """Trained parameters and the optimiser's state."""


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path` that takes its place once it has been filled.

    After an exception, SIGKILL or a power cut there is no `path`, or the whole one. One that is
    there already is replaced.

    Raises:
        OutputError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with output_errors(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            _sync(temporary)
            if path.exists():
                shutil.rmtree(path)
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def save_state(
    out: Path,
    step: int,
    decisive: Mapping[str, Any],
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write what a training goes on from, then remove the one before.

    Args:
        out: the training's folder.
        step: steps taken.
        decisive: settings that must be the same when it goes on.
        module: its trained parameters are kept; frozen ones come from where they came from.
        optimiser: its state is kept.

    Raises:
        OutputError: the folder cannot be written; the one before is as it was.
    """
    trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
    tensors = {**prefixed("parameter", trained), **optimizer_tensors("optimiser", optimiser)}
    path = out / _STATES / _STEP.format(step)
    with atomic_folder(path) as folder:
        save_file({n: t.detach().contiguous() for n, t in tensors.items()}, folder / _STATE)
        follow_umask(folder / _STATE)
        content = {"step": step, "decisive": dict(decisive), "state": file_sha256(folder / _STATE)}
        write_sealed(folder / DESCRIPTION, content)
    for other in _states(out):
        if other != path:
            shutil.rmtree(other)


def load_state(out: Path) -> State | None:
    """Return the latest state, or None where there is none.

    Raises:
        TrainingError: it is damaged.
    """
    paths = _states(out)
    if not paths:
        return None
    path = paths[-1]
    remedy = f"move {out} away, and the training begins anew"
    content = read_sealed(path / DESCRIPTION, "a training's state", TrainingError, remedy)
    try:
        check_header(path / _STATE)
        if file_sha256(path / _STATE) != content["state"]:
            raise ValueError(f"{_STATE} does not match its sha256")
        with safe_open(path / _STATE, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return State(int(content["step"]), content["decisive"], tensors)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise TrainingError(f"{path} is damaged ({one_line(error)}): {remedy}") from error


def check_same(state: State, decisive: Mapping[str, Any], out: Path) -> None:
    """Refuse to go on with other settings.

    Raises:
        TrainingError: it names the settings that differ, with both values.
    """
    there, now = _flat(state.decisive), _flat(json.loads(json.dumps(decisive)))
    differing = [
        f"{name} was {there.get(name)} and is {now.get(name)}"
        for name in sorted(there.keys() | now.keys())
        if there.get(name) != now.get(name)
    ]
    if differing:
        raise TrainingError(
            f"{out} holds a training with other settings: {'; '.join(differing)}. Choose another "
            "--out, or give the settings of before"
        )


def restore(state: State, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put parameters and the optimiser's state back.

    Raises:
        TrainingError: the model has other parameters.
    """
    trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
    stored = select("parameter", state.tensors)
    if {n: p.shape for n, p in trained.items()} != {n: t.shape for n, t in stored.items()}:
        raise TrainingError("the checkpoint's trained parameters are not this model's")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(stored[name])
    load_optimizer("optimiser", optimiser, state.tensors)


def _states(out: Path) -> list[Path]:
    return sorted((out / _STATES).glob("step_*"))


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _sync(folder: Path) -> None:
    """Have the disk hold a folder's files before its name does."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
