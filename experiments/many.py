"""Does many tasks' work, each piece apart, and tells a line of each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from common.errors import DlrError
from common.workers import Outcome, Processes, attempt_items

if TYPE_CHECKING:
    from generator.run_folder import RunFolder
    from generator.work.plan import Plan


class TaskItem(Protocol):
    """A work item that is of one task."""

    @property
    def task(self) -> str:
        """The task's key."""


def work_plan(run: RunFolder, plan: Plan, workers: int | None) -> list[Outcome[Any]]:
    """Do what a plan has in a run's folder, one piece a core; return those that failed.

    Args:
        run: the run, which nothing else may be working in.
        plan: the pieces of work.
        workers: processes; by default one for each core.

    Raises:
        BusyError: another process works in the run's folder.
    """
    from common.locks import lock_folder
    from reports.run_progress import work

    with lock_folder(run.root):
        return work(run, plan, Processes(workers, bar=False)).failed


def attempt_tasks[Item: TaskItem](
    function: Callable[[Item], str], items: Sequence[Item], workers: int | None, description: str
) -> None:
    """Do all items, one a core, and print a line of each; one that fails leaves the others be.

    The traceback of an unexpected error goes to standard error.

    Args:
        function: does an item, keeps what it makes, and returns a few words on it.
        items: one a task.
        workers: processes; by default one for each core.
        description: what is done, for the progress bar.

    Raises:
        DlrError: tasks failed; it names them.
    """
    failed = []
    for outcome in attempt_items(function, items, Processes(workers), description):
        task = items[outcome.index].task
        failed += [task] if outcome.error else []
        print(f"{task}: {outcome.error or outcome.result} ({outcome.seconds:.0f} s)", flush=True)
        if outcome.details:
            print(outcome.details, file=sys.stderr)
    if failed:
        raise DlrError(f"{len(failed)} of {len(items)} tasks failed: {', '.join(failed)}")
