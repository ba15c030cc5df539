"""`dlr eval board`: many results on one page, those that can be compared side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from cli.doctor import load_mujoco
from common.errors import UsageError


@dataclass(frozen=True)
class Board:
    """Write one page of many results: success kept by axis and level, curves, videos.

    The page stands alone, sorts and filters. Results of another protocol, assets or simulator are
    in a group of their own, with the reason.
    """

    results: tyro.conf.Positional[tuple[Path, ...]]
    """Results folders, and folders of arms under perturbation."""
    out: Path = Path("board.html")
    """The page."""
    videos: int = 24
    """Most videos of episodes that fail where their control succeeds; 0 for none."""
    assets: Path | None = None
    """`libero`, `embedded` or a folder of assets to draw with; by default those simulated with."""

    def __call__(self) -> None:
        """Write the page."""
        load_mujoco()
        from reports.robustness.write import write_board
        from reports.video import VideoSettings

        if self.out.suffix != ".html":
            raise UsageError(f"{self.out} should end in .html")
        if self.videos < 0:
            raise UsageError(f"--videos is 0 or more, not {self.videos}")
        videos = VideoSettings(count=self.videos) if self.videos else None
        print(write_board(self.results, self.out, videos, self.assets))
