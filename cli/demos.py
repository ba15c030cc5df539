"""`dlr demos`: look at a task's demonstrations, and tabulate what was measured of all."""

from __future__ import annotations

import os
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cli.doctor import load_mujoco
from common.errors import UsageError
from generator.run_folder import DEFAULT_RUN, RunFolder


@dataclass(frozen=True)
class Show:
    """Draw a task's demonstrations: a sheet with a row a way, their paths, and a video.

    Both lie beside the file of demonstrations; where there is a desktop, they are opened.
    """

    task: tyro.conf.Positional[str] = ""
    """A task, as `suite/name` or its name alone; `--file` says it itself."""
    run: Path = DEFAULT_RUN
    """Folder that all stages share."""
    file: Path | None = None
    """Show this trajectory file instead of the run's demonstrations."""
    assets: Path | None = None
    """`libero`, `embedded` or a folder of assets; by default those that the demonstrations were
    made with."""
    camera: str = "agentview"
    """Camera."""
    size: int = 144
    """Pixels of each picture's sides."""
    open: bool = True
    """Whether to open them on a desktop."""

    def __call__(self) -> None:
        """Draw, print the paths, and open them."""
        load_mujoco()
        from reports.demonstrations import SheetSettings, show_demonstrations
        from simulation.assets.resolve import resolve_assets

        path = self._path()
        pack = None if self.assets is None else resolve_assets(self.assets)
        drawn = show_demonstrations(path, pack, SheetSettings(self.camera, self.size))
        for picture in drawn:
            print(picture)
            if self.open and _desktop():
                webbrowser.open(picture.resolve().as_uri())

    def _path(self) -> Path:
        from simulation.tasks import get_task

        if self.file is not None:
            return self.file
        if not self.task:
            raise UsageError("name a task (`dlr tasks` lists all), or give --file")
        task = get_task(self.task)
        path = RunFolder(self.run).demonstrations(task)
        if not path.exists():
            raise UsageError(
                f"{self.run} has no demonstrations of {task.key}: "
                f"`dlr demonstrate {task.key} --run {self.run}` makes them"
            )
        return path


@dataclass(frozen=True)
class Table:
    """Tabulate what was measured of demonstrations: success of every way of every task.

    Writes `demonstrations.md` and `demonstrations.json`.
    """

    source: Annotated[Path, tyro.conf.arg(name="from")] = Path("results/demonstrations")
    """Folder of records, `PACK/SOURCE/SUITE/TASK.json`, that `dlr demos measure` makes."""
    out: Path = Path("docs")
    """Folder of the two files."""

    def __call__(self) -> None:
        """Write."""
        from demonstrations.measured import read_all_measured
        from reports.demonstrations_table import write_table

        for path in write_table(read_all_measured(self.source), self.out):
            print(path)


def _desktop() -> bool:
    """Return whether a window can be opened here."""
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform == "darwin" or any(os.environ.get(name) for name in displays)


def demos(
    command: tyro.conf.OmitArgPrefixes[tyro.conf.OmitSubcommandPrefixes[Show | Table]],
) -> None:
    """Demonstrations: show, table."""
    command()
