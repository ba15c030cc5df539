"""Does one thing for many tasks, each apart, and tells a line of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from common.errors import DlrError
from common.workers import Processes, attempt_items


class TaskItem(Protocol):
    """A work item that is of one task."""

    @property
    def task(self) -> str:
        """The task's key."""


def attempt_tasks[Item: TaskItem](
    function: Callable[[Item], str], items: Sequence[Item], workers: int | None, description: str
) -> None:
    """Do all items, one a core, and print a line of each; one that fails leaves the others be.

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
    if failed:
        raise DlrError(f"{len(failed)} of {len(items)} tasks failed: {', '.join(failed)}")
