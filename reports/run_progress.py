"""The live table of a run of many tasks: what is at work, how far, and what has ended how."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.machine import cores
from common.workers import Beam, Outcome, Processes, attempt_items
from common.workers.progress import Progress, clear_progress, read_progress
from generator.run_folder import RunFolder
from generator.work.items import WorkItem, do
from generator.work.plan import Plan

_ENDED_SHOWN = 8
"""Rows of items that have ended, the last ones."""


@dataclass
class RunProgress:
    """What has become of a run's items so far."""

    run: RunFolder
    """The run's folder, in which items at work tell how far they are."""
    items: Sequence[WorkItem]
    """All items."""
    workers: int
    """Items at work at a time."""
    ended: list[Outcome[Any]] = field(default_factory=list)
    """Outcomes so far."""

    @property
    def failed(self) -> list[Outcome[Any]]:
        """Outcomes of items that failed by themselves."""
        return [outcome for outcome in self.ended if outcome.error and not outcome.left_out]

    def line(self, outcome: Outcome[Any]) -> str:
        """Return in one line what became of an item."""
        item, words = self.items[outcome.index], self.words(outcome)
        if outcome.error is not None and not outcome.left_out:
            words = f"FAILED: {words}"
        took = f"; {clock(outcome.seconds)}" if outcome.error is None else ""
        return f"{item.task} {item.what}: {words}{took}".strip()

    def words(self, outcome: Outcome[Any]) -> str:
        """Return what came of an item, or why nothing did."""
        if outcome.result is None:
            return outcome.error or ""
        return self.items[outcome.index].describe(outcome.result)

    def seconds_left(self) -> float | None:
        """Return how long the rest takes if items take as long as those of their kind so far.

        None until an item of every kind that is left has ended; what is at work counts half.
        """
        took: dict[type, list[float]] = {}
        for outcome in self.ended:
            if outcome.error is None:
                took.setdefault(type(self.items[outcome.index]), []).append(outcome.seconds)
        done = {outcome.index for outcome in self.ended}
        left = [type(item) for index, item in enumerate(self.items) if index not in done]
        if any(kind not in took for kind in left):
            return None
        total = sum(statistics.mean(took[kind]) for kind in left)
        at_work = min(self.workers, len(left))
        half_done = sum(statistics.mean(took[kind]) for kind in left[:at_work]) / 2
        return (total - half_done) / max(at_work, 1)

    def summary(self) -> str:
        """Return counts and time left in one line."""
        left, done = self.seconds_left(), sum(outcome.error is None for outcome in self.ended)
        return (
            f"{done} of {len(self.items)} done, {len(self.failed)} "
            f"failed, {'time left not known yet' if left is None else f'{clock(left)} left'}"
        )

    def table(self) -> Table:
        """Return the table: items at work, then the last ones that ended."""
        table = Table(title=Text(self.summary()), title_justify="left", box=None, pad_edge=False)
        for name in ("task", "what", "stage", "left"):
            table.add_column(name, overflow="fold" if name == "task" else "ellipsis")
        now = time.time()
        for progress in read_progress(self.run.progress):
            table.add_row(*_at_work(progress, now))
        for outcome in reversed(self.ended[-_ENDED_SHOWN:]):
            item = self.items[outcome.index]
            style = "red" if outcome.error else "dim"
            row = (item.task, item.what, self.words(outcome), clock(outcome.seconds))
            table.add_row(*(Text(cell, style=style) for cell in row))
        return table


def _at_work(progress: Progress, now: float) -> tuple[Text, ...]:
    """Return a row: task, what, stage with its share done, and the stage's time left."""
    task, _, what = progress.name.partition(" ")
    share = f" {progress.done}/{progress.total}" if progress.total else ""
    left = progress.seconds_left(now)
    cells = (task, what, f"{progress.step}{share}", "" if left is None else clock(left))
    return tuple(map(Text, cells))


def work(
    run: RunFolder,
    plan: Plan,
    backend: Processes | Beam,
    note: Callable[[WorkItem, Outcome[Any]], None] = lambda item, outcome: None,
) -> RunProgress:
    """Do a plan's items, showing a table on a terminal and a line for each that ends.

    Args:
        run: the run's folder.
        plan: its items.
        backend: where they are done.
        note: called with each item that has ended, at once; what it raises ends the run.
    """
    clear_progress(run.progress)
    console = Console()
    progress = RunProgress(run, plan.items, getattr(backend, "workers", None) or cores())
    with watching(progress, console):
        for outcome in attempt_items(do, plan.items, backend, "generating", plan.after):
            progress.ended.append(outcome)
            console.print(progress.line(outcome), highlight=False, markup=False, soft_wrap=True)
            console.file.flush()
            if outcome.details:
                print(outcome.details, file=sys.stderr)
            note(plan.items[outcome.index], outcome)
    return progress


@contextmanager
def watching(progress: RunProgress, console: Console) -> Iterator[None]:
    """Show the table meanwhile, on a terminal; elsewhere nothing."""
    if not console.is_terminal:
        yield
        return
    with Live(get_renderable=progress.table, console=console, refresh_per_second=1, transient=True):
        yield


def clock(seconds: float) -> str:
    """Return minutes and seconds, such as 3:07, or with hours 2:03:07."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
