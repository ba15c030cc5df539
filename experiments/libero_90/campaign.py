"""Runs what is missing of LIBERO-90, task by task, and notes at once what failed and why."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import StorageError
from common.files import storage_fault
from common.versions import head
from common.workers import Outcome, Processes
from experiments.libero_90.records import Failure, TaskRecord
from experiments.study import plan_measured
from generator.run_folder import RunFolder

if TYPE_CHECKING:
    from generator.work.items import WorkItem
    from generator.work.plan import Plan, Settings
    from reports.run_progress import RunProgress
    from simulation.assets.resolve import AssetPack
    from simulation.tasks import Task

SUITE = "libero_90"


@dataclass(frozen=True)
class Campaign:
    """Both recipes on many tasks, with one seed."""

    run: RunFolder
    """Demonstrations, policies and episodes; stays on this machine."""
    out: Path
    """Folder of the results; is kept."""
    settings: Settings
    """What is done for each task; of one seed."""
    assets: AssetPack
    """Asset pack."""
    people: str = ""
    """`official` or a folder of people's demonstrations, which are mixed in where a task has
    some; empty for none."""

    def left(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks that miss a result: those begun here, then others, failed ones last."""
        left = [task for task in tasks if self._record(task).missing(*self._wanted)]

        def turn(task: Task) -> int:
            if self._record(task).failures():
                return 2
            begun = self.run.demonstrations(task).exists() or self.run.stages(task).exists()
            return 0 if begun else 1

        return sorted(left, key=turn)

    def plan(self, tasks: Sequence[Task], commit: str = "") -> Plan:
        """Return the work that is left of these tasks, a task's pieces one after the other."""
        from generator.work.plan import Plan

        plan = Plan()
        for task in self.left(tasks):
            settings = self._of_task(task)
            plan_measured(plan, self.run, task, settings, self.assets, self.out, commit)
        return plan

    def work(
        self,
        tasks: Sequence[Task],
        workers: int | None = None,
        minutes: float = math.inf,
        item_minutes: float = math.inf,
    ) -> RunProgress:
        """Do what is left.

        Args:
            tasks: the tasks.
            workers: processes; by default one for each core.
            minutes: after these no task is begun; those begun are ended.
            item_minutes: a piece of work that takes longer has failed.

        Raises:
            StorageError: the disk is full; the same call goes on.
            BusyError: another process works in the run's folder.
        """
        from common.locks import lock_folder
        from reports.run_progress import work

        commit, gate = head(), begins_until(time.monotonic() + 60 * minutes)
        backend = Processes(workers, bar=False, may_begin=gate, limit=60 * item_minutes)
        with lock_folder(self.run.root):
            return work(self.run, self.plan(tasks, commit), backend, self._noting(commit))

    @property
    def _wanted(self) -> tuple[tuple[str, ...], int]:
        (seed,) = self.settings.seeds
        return self.settings.recipes, seed

    def _record(self, task: Task) -> TaskRecord:
        return TaskRecord(self.out, task.key)

    def _of_task(self, task: Task) -> Settings:
        """Return the settings, with people's demonstrations where there are some of the task."""
        from demonstrations.people import has_people

        found = self.people and has_people(task, self.people)
        shown = replace(self.settings.demonstrate, human_demos=self.people if found else "")
        return replace(self.settings, demonstrate=shown)

    def _noting(self, commit: str) -> Callable[[WorkItem, Outcome[Any]], None]:
        """Return what is called with each item that has ended."""

        def note(item: WorkItem, outcome: Outcome[Any]) -> None:
            if outcome.left_out:
                return
            error, record = outcome.error, TaskRecord(self.out, item.task)
            if error is not None and storage_fault(Exception(error)):
                raise StorageError(error)
            failure = None if error is None else Failure(item.what, error, commit)
            spent = (outcome.result or {}).get("cpu_seconds", 0.0)
            record.note(item.what, outcome.seconds, failure, spent)
            if not record.missing(*self._wanted):
                record.forget()

        return note


def begins_until(end: float) -> Callable[[WorkItem], bool]:
    """Return what lets items begin: of any task before a time, then only of those begun.

    Args:
        end: on the clock of `time.monotonic`, s.
    """
    begun: set[str] = set()

    def may_begin(item: WorkItem) -> bool:
        if item.task not in begun and time.monotonic() >= end:
            return False
        begun.add(item.task)
        return True

    return may_begin
