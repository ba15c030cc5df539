"""The renderers of one thread, of the tasks that it drew last."""

from __future__ import annotations

from collections import OrderedDict

from simulation.assets.resolve import AssetPack
from simulation.pictures.rendering import Renderer
from simulation.scene import Scene
from simulation.tasks import Task


class Renderers:
    """One thread's renderers, of the tasks that it drew last.

    Args:
        assets: asset pack of all.
        size: height and width of the pictures, pixels.
        most: how many tasks' to keep; with the real assets one takes some 400 MB.
    """

    def __init__(self, assets: AssetPack, size: tuple[int, int], most: int) -> None:
        self._assets, self._size, self._most = assets, size, most
        self._renderers: OrderedDict[str, Renderer] = OrderedDict()

    def __contains__(self, task: Task) -> bool:
        """Return whether a task's renderer is there."""
        return task.key in self._renderers

    def of(self, task: Task, scene: Scene | None = None) -> Renderer:
        """Return the renderer of a task.

        Args:
            task: the task.
            scene: its compiled scene, of which there is one a task; by default the shared one.
        """
        if task.key not in self._renderers:
            while len(self._renderers) >= self._most:
                self._renderers.popitem(last=False)[1].close()
            height, width = self._size
            self._renderers[task.key] = Renderer(task, self._assets, width, height, scene)
        self._renderers.move_to_end(task.key)
        return self._renderers[task.key]

    def close(self) -> None:
        """Free all, in the thread that made them."""
        while self._renderers:
            self._renderers.popitem()[1].close()
