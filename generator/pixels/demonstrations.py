"""Pictures of demonstrations: drawn once from their states, and kept beside the stages' results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from common.errors import CheckpointError, DemonstrationError, SettingError
from common.tensors import load_tensors, save_tensors
from common.workers.progress import Bar
from demonstrations.demonstration import Demonstration
from generator.config import PICTURE_SIZES, ObserveConfig
from generator.pixels.memory import check_memory
from generator.policies.observers import Painters

_KIND = "pictures"
_SMALLEST, _LARGEST = PICTURE_SIZES


class DemonstrationPictures:
    """Pictures of each demonstration, (T, cameras, H, W, 3) uint8, read one by one.

    Args:
        demonstrations: with the simulator's states.
        observe: cameras and size.
        painters: what draws them.
        parent: folder in which a folder of theirs is made, named by all that they depend on.

    Raises:
        SettingError: the size is out of range.
        DemonstrationError: a demonstration lacks the simulator's states.
    """

    def __init__(
        self,
        demonstrations: Sequence[Demonstration],
        observe: ObserveConfig,
        painters: Painters,
        parent: Path,
    ) -> None:
        if not _SMALLEST <= observe.size <= _LARGEST:
            raise SettingError(
                f"--observe.size lies in {_SMALLEST} to {_LARGEST}, not {observe.size}"
            )
        if any(d.moments is None for d in demonstrations):
            raise DemonstrationError("to see, demonstrations must have the simulator's states")
        self._demonstrations, self._observe, self._painters = demonstrations, observe, painters
        key = json.dumps([observe.cameras, observe.size, painters.digest])
        self._folder = parent / f"pictures-{hashlib.sha256(key.encode()).hexdigest()[:12]}"

    def __len__(self) -> int:
        return len(self._demonstrations)

    def draw(self) -> None:
        """Draw those that are not there.

        Raises:
            RenderError: nothing draws here, or the task has no such camera.
        """
        with Bar("draw demonstrations", len(self)) as bar:
            for index in range(len(self)):
                self[index]
                bar.update()

    def __getitem__(self, index: int) -> np.ndarray:
        """Return a demonstration's pictures; a file that is damaged is made anew."""
        moments = self._demonstrations[index].moments
        assert moments is not None
        digest = hashlib.sha256(np.ascontiguousarray(moments.states).data)
        for part in (moments.fixtures.positions, moments.fixtures.quaternions):
            digest.update(np.ascontiguousarray(part).data)
        path = self._folder / f"{digest.hexdigest()[:16]}.safetensors"
        if path.exists():
            try:
                return load_tensors(path, _KIND)[0][_KIND].numpy()
            except CheckpointError:
                path.unlink()
        scenes = [(state, moments.fixtures) for state in moments.states]
        pictures = self._painters.draw(scenes, self._observe.cameras, self._observe.size)
        save_tensors(path, _KIND, {_KIND: torch.from_numpy(pictures)}, {})
        return pictures

    def together(self) -> np.ndarray:
        """Return the pictures of all, one after the other.

        Raises:
            SettingError: there is no memory for them.
        """
        rows = sum(len(d.actions) for d in self._demonstrations)
        shape = (rows, len(self._observe.cameras), self._observe.size, self._observe.size, 3)
        size = int(np.prod(shape))
        check_memory(f"{rows} moments of demonstrations", size, self._observe.memory_gib)
        pictures, end = np.empty(shape, np.uint8), 0
        for index in range(len(self)):
            part = self[index]
            pictures[end : end + len(part)] = part
            end += len(part)
        return pictures
