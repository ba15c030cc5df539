"""`dlr demos`: demonstrations of many tasks: fetch, make, look at, audit, measure, tabulate."""

from __future__ import annotations

import os
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cli.doctor import load_mujoco
from common.errors import DemonstrationError, UsageError
from demonstrations.config import DemonstrationConfig
from generator.run_folder import DEFAULT_RUN, RunFolder

Names = Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SUITE|TASK ...")]


@dataclass(frozen=True)
class Download:
    """Fetch LIBERO's official demonstrations, 50 of each task, some 0.8 GB a task.

    They come from the Hugging Face hub (`yifengzhu-hf/LIBERO-datasets`, at one commit), and each
    file is compared with the hub's sha256. The same command goes on where it was killed.
    """

    names: Names = ()
    """Suites, such as libero_90, and tasks, as `suite/name` or their names alone."""
    source: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Take the files from this folder, or this one file, instead of the hub: they are linked."""
    copy: bool = False
    """With `--from`: copy the files instead of linking them."""
    folder: Path | None = None
    """Folder for `SUITE/TASK_demo.hdf5`; by default in the user's cache folder, where other
    commands find them with `--human-demos official`."""

    def __call__(self) -> None:
        """Fetch."""
        from demonstrations.official import Supply, choose_tasks

        if not self.names:
            raise UsageError("name a suite, such as libero_90, or tasks; `dlr tasks` lists them")
        if self.copy and self.source is None:
            raise UsageError("--copy goes with --from PATH")
        tasks, supply = choose_tasks(self.names), Supply(self.folder)
        if self.source is not None:
            paths = supply.take(tasks, self.source, self.copy)
        else:
            paths = supply.download(tasks)
        for path in paths:
            print(path)


@dataclass(frozen=True)
class Make:
    """Make demonstrations of many tasks, each from the best source that is here.

    LIBERO's own where `dlr demos download` has fetched them; amplified where `--human-demos` has a
    recording of the task; else by skills; `--source` decides for all. A task's file lies where
    `dlr demonstrate` puts it. Tasks run side by side, one a core; one that fails is told, and the
    others go on. The same command goes on where it was killed.
    """

    names: Names = ()
    """Suites, such as libero_90, and tasks, as `suite/name` or their names alone."""
    run: Path = DEFAULT_RUN
    """Folder that all stages share."""
    assets: Path | None = None
    """`libero`, `embedded` or a folder of assets; by default as `dlr assets` says."""
    workers: int | None = None
    """Processes; by default one for each core. With Beam, those beside each of its workers; by
    default one."""
    show: bool = False
    """Draw a contact sheet and a video of each task as well; see `dlr demos show`."""
    beam: str = ""
    """Comma-separated options of an Apache Beam pipeline, without dashes, such as
    runner=FlinkRunner,parallelism=8, to run the tasks there; the run's folder must be on storage
    that its workers reach."""
    config: Annotated[DemonstrationConfig, tyro.conf.arg(name="")] = DemonstrationConfig()
    """Which demonstrations, and how many."""

    def __call__(self) -> None:
        """Make, and report."""
        from common.workers import Beam, Processes, attempt_items, beam_options
        from demonstrations.make import DemonstrationItem, demonstrate_item, possible
        from demonstrations.official import choose_tasks
        from demonstrations.ranges import check_demonstrations
        from reports.demonstrations import show_demonstrations
        from simulation.assets.resolve import resolve_assets

        if not self.names:
            raise UsageError("name a suite, such as libero_90, or tasks; `dlr tasks` lists them")
        check_demonstrations(self.config)
        pack, run = resolve_assets(self.assets), RunFolder(self.run.absolute())
        items = [
            DemonstrationItem(t.key, run.demonstrations(t), possible(t, self.config), pack)
            for t in choose_tasks(self.names)
        ]
        on_beam = Beam(beam_options(self.beam), str(run.root), self.workers)
        backend = on_beam if self.beam else Processes(self.workers)
        failed = []
        for outcome in attempt_items(demonstrate_item, items, backend, "demonstrating"):
            item = items[outcome.index]
            if outcome.error is not None:
                failed.append(item.task)
                print(f"{item.task}: FAILED: {outcome.error}", flush=True)
                continue
            print(
                f"{item.task}: {'; '.join(outcome.result or ())}; {outcome.seconds:.0f} s",
                flush=True,
            )
            if self.show:
                for path in show_demonstrations(item.path, pack):
                    print(f"  {path}")
        if failed:
            raise DemonstrationError(
                f"{len(failed)} of {len(items)} tasks have no demonstrations: {', '.join(failed)}"
            )


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
class Audit:
    """Show which of people's demonstrations were kept, how, and what was dropped of them."""

    path: tyro.conf.Positional[Path]
    """A run's folder, or the `*.audit.json` beside a file of demonstrations."""

    def __call__(self) -> None:
        """Show."""
        from demonstrations.audit import find_audits, read_audit

        for path in find_audits(self.path):
            print("\n".join(read_audit(path).lines()))


@dataclass(frozen=True)
class Measure:
    """Measure a demonstrator: the same number of attempts at every way of every task.

    One sealed file a task tells attempts, successes, lengths and how well a classifier tells the
    ways apart; what is there with these settings is not measured again.
    """

    names: Names = ()
    """Suites, such as libero_90, and tasks, as `suite/name` or their names alone."""
    source: str = "scripted"
    """`scripted`, or `amplified` from the recordings in `human_demos`."""
    human_demos: str = ""
    """Folder of recordings to amplify, and of the persons' lengths to compare with."""
    attempts: int = 20
    """Attempts at each way, half from official init states, half from fresh resets."""
    seed: int = 0
    """Seed of starts, speeds and noise."""
    assets: Path | None = None
    """`libero` or `embedded`; by default as `dlr assets` says."""
    out: Path = Path("results/demonstrations")
    """Folder of the records, `PACK/SOURCE/SUITE/TASK.json`."""
    workers: int | None = None
    """Processes; by default one for each core."""

    def __call__(self) -> None:
        """Measure."""
        from common.workers import Processes, attempt_items
        from demonstrations.measure import MeasureItem, measure_item
        from demonstrations.official import choose_tasks
        from demonstrations.ranges import check_demonstrations
        from simulation.assets.resolve import resolve_assets

        if not self.names:
            raise UsageError("name a suite, such as libero_90, or tasks; `dlr tasks` lists them")
        if self.attempts < 2 or self.source not in ("scripted", "amplified"):
            raise UsageError("--attempts is at least 2, --source scripted or amplified")
        config = DemonstrationConfig(
            source=self.source,  # type: ignore[arg-type]
            human_demos=self.human_demos,
            seed=self.seed,
        )
        check_demonstrations(config)
        pack = resolve_assets(self.assets)
        items = [
            MeasureItem(task.key, self.out, config, self.attempts, pack)
            for task in choose_tasks(self.names)
        ]
        failed = 0
        for outcome in attempt_items(measure_item, items, Processes(self.workers), "measuring"):
            failed += outcome.error is not None
            said = outcome.result if outcome.error is None else f"FAILED: {outcome.error}"
            print(f"{items[outcome.index].task}: {said}", flush=True)
        if failed:
            raise DemonstrationError(f"{failed} of {len(items)} tasks could not be measured")


@dataclass(frozen=True)
class Table:
    """Tabulate what was measured of demonstrations: success of every way of every task.

    Writes `demonstrations.md` and `demonstrations.json`.
    """

    source: Annotated[Path, tyro.conf.arg(name="from")] = Path("results/demonstrations")
    """Folder of records, `PACK/SOURCE/SUITE/TASK.json`, that `dlr demos measure` makes."""
    pictures: Path | None = None
    """A run's folder in which `dlr demos make --show` has drawn contact sheets: small copies of
    them are put beside the page, and it links them."""
    out: Path = Path("docs")
    """Folder of the two files."""

    def __call__(self) -> None:
        """Write."""
        from demonstrations.measured import read_all_measured
        from reports.demonstrations_table import write_pictures, write_table

        if self.pictures is not None:
            write_pictures(self.pictures / "demonstrations", self.out)
        for path in write_table(read_all_measured(self.source), self.out):
            print(path)


def _desktop() -> bool:
    """Return whether a window can be opened here."""
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform == "darwin" or any(os.environ.get(name) for name in displays)


_Command = Download | Make | Show | Audit | Measure | Table


def demos(
    command: Annotated[tyro.conf.OmitSubcommandPrefixes[_Command], tyro.conf.arg(name="")],
) -> None:
    """Demonstrations of many tasks: download, make, show, audit, measure, table."""
    command()
