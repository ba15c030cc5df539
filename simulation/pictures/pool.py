"""Pictures of many environments of one task at once, drawn on threads that each own a renderer."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from simulation.assets.resolve import AssetPack
from simulation.pictures.renderers import Renderers
from simulation.scene import Fixtures
from simulation.tasks import Task

Scenes = Sequence[tuple[np.ndarray, Fixtures]]
"""Simulator states (1 + nq + nv,) with the poses of their fixtures."""


class PicturePool:
    """Draws states of one task on a fixed set of threads, which are started when first needed.

    Which thread draws a state does not change its picture.

    Args:
        task: the task.
        assets: asset pack of the pictures.
        threads: how many threads; each holds a renderer.
    """

    def __init__(self, task: Task, assets: AssetPack, threads: int) -> None:
        self._task, self._assets = task, assets
        self._threads = [ThreadPoolExecutor(1, "pictures") for _ in range(threads)]
        self._renderers: dict[int, list[Renderers]] = {}

    @property
    def digest(self) -> str:
        """Digest of the asset pack, which pictures differ by."""
        return self._assets.digest

    def draw(self, scenes: Scenes, cameras: Sequence[str], size: int) -> np.ndarray:
        """Return upright pictures, uint8 (n, cameras, size, size, 3).

        Raises:
            RenderError: nothing draws here, or the task has no such camera.
            InvalidStateError: a state does not belong to the task.
        """
        pictures = np.empty((len(scenes), len(cameras), size, size, 3), np.uint8)
        renderers = self._renderers.setdefault(
            size, [Renderers(self._assets, (size, size), most=1) for _ in self._threads]
        )

        def work(first: int) -> None:
            renderer = renderers[first].of(self._task)
            for i in range(first, len(scenes), len(self._threads)):
                state, fixtures = scenes[i]
                for k, camera in enumerate(cameras):
                    pictures[i, k] = renderer.render(state, fixtures, camera, size, size)

        waiting = [t.submit(work, i) for i, t in enumerate(self._threads) if i < len(scenes)]
        for future in waiting:
            future.result()
        return pictures

    def close(self) -> None:
        """Free the renderers, each in its thread, and end the threads."""
        for renderers in self._renderers.values():
            for thread, mine in zip(self._threads, renderers, strict=True):
                thread.submit(mine.close).result()
        self._renderers = {}
        for thread in self._threads:
            thread.shutdown()
