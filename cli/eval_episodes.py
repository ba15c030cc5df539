"""`dlr eval csv` and `dlr eval video`: an evaluation's episodes as rows and as films."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from cli.doctor import load_mujoco
from common.errors import UsageError


@dataclass(frozen=True)
class Csv:
    """Write the episodes as comma-separated values: task, seed, axis, level, success, steps."""

    results: tyro.conf.Positional[tuple[Path, ...]]
    """Results folders, and folders of arms under perturbation."""
    out: Path | None = None
    """File to write; by default standard output."""

    def __call__(self) -> None:
        """Write the rows."""
        from common.files import write_text
        from reports.episodes.rows import to_csv

        if not self.results:
            raise UsageError("name at least one results folder")
        text = to_csv(self.results)
        if self.out is None:
            print(text, end="")
            return
        write_text(self.out, text)
        print(self.out)


@dataclass(frozen=True)
class Video:
    """Write episodes as MP4s, in real time; `dlr view --results` makes a sheet of one."""

    results: tyro.conf.Positional[Path]
    """Results folder; of an evaluation under perturbation, one arm's."""
    out: Path
    """Folder for the MP4s."""
    show: Literal["successes", "failures", "all"] = "all"
    """Which."""
    tasks: tuple[str, ...] = ()
    """Tasks, as `suite/name` or their names alone; by default all."""
    episodes: tuple[int, ...] = ()
    """Numbers of the episodes; by default all."""
    most: int = 20
    """Most that are written, in the order of the plan."""
    cameras: tuple[str, ...] = ("agentview", "robot0_eye_in_hand")
    """Cameras, side by side."""
    size: int = 256
    """Pixels of each picture's sides; even."""
    assets: Path | None = None
    """`libero`, `embedded` or a folder of assets to draw with; by default those simulated with."""

    def __call__(self) -> None:
        """Write the videos."""
        load_mujoco()
        from reports.episodes.films import choose_episodes, load_episodes, write_films

        if self.size < 16 or self.size % 2 or self.most < 1 or not self.cameras:
            raise UsageError("--size is even and 16 or more, --most 1 or more; name a camera")
        results = load_episodes(self.results)
        chosen = choose_episodes(results, self.show, self.tasks, self.episodes)
        shown = chosen[: self.most]
        for path in write_films(results, shown, self.out, self.cameras, self.size, self.assets):
            print(path)
        if len(shown) < len(chosen):
            print(f"{len(shown)} of {len(chosen)} episodes; --most {len(chosen)} writes all")
