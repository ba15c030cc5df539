"""What a run does for one task, as work items: callable, frozen, picklable, and done only once."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from common.spent import spending
from common.workers.progress import tell, telling
from generator.config import CollectConfig, GeneratorConfig
from generator.run_folder import (
    LEARN,
    SLOTS,
    RunFolder,
    collect_episodes,
    collect_learned,
    load_demonstrations,
    train_recipe,
)

if TYPE_CHECKING:
    from demonstrations.demonstration import Demonstration
    from demonstrations.make import DemonstrationItem
    from simulation.assets.resolve import AssetPack
    from simulation.environment import BatchEnvironment

Result = dict[str, Any]
"""What an item tells of its work: JSON, so that it comes back from any runner."""


class WorkItem(Protocol):
    """A piece of a run, which keeps what it makes and does nothing where that is there already."""

    @property
    def task(self) -> str:
        """The task's key; empty where it is of many."""

    @property
    def what(self) -> str:
        """What is done, such as `dlr seed 0`."""

    def __call__(self) -> Result:
        """Do it, telling how far it is in the run's folder of progress."""

    def describe(self, result: Result) -> str:
        """Return in words what came of it."""


def do(item: WorkItem) -> Result:
    """Do an item; a function that every process can import."""
    return item()


@dataclass(frozen=True)
class Demonstrate:
    """Make a task's demonstrations."""

    run: RunFolder
    """The run's folder."""
    item: DemonstrationItem
    """Which ones."""

    @property
    def task(self) -> str:
        """The task's key."""
        return self.item.task

    @property
    def what(self) -> str:
        """What is done."""
        return "demonstrations"

    def __call__(self) -> Result:
        """Make them; `cpu_seconds` are those of all tries, here and before."""
        from demonstrations.make import demonstrate_item

        began, path = time.monotonic(), self.item.path
        noted = spending(path.with_name(f".{path.name}.spent.json"))
        with telling(*told_as(self.run, self)), noted as cpu_seconds:
            tell("demonstrate")
            ways = demonstrate_item(self.item)
        seconds = {"demonstrate": time.monotonic() - began}
        return {"ways": ways, "seconds": seconds, "cpu_seconds": cpu_seconds()}

    def describe(self, result: Result) -> str:
        """Return what came of each way."""
        return "; ".join(result["ways"])


@dataclass(frozen=True)
class TrainingItem:
    """A recipe's training on a task with a seed, and its collection."""

    run: RunFolder
    """The run's folder, which holds the task's demonstrations."""
    task: str
    """The task's key."""
    recipe: str
    """The recipe's name."""
    config: GeneratorConfig
    """Settings and seed of the training."""
    collect: CollectConfig
    """How many episodes, and from where."""
    assets: AssetPack
    """Asset pack to train with."""
    slots: int = SLOTS
    """Environments stepped together."""
    learned: CollectConfig | None = None
    """What is also collected with the policy that `learn` made, before anything else improves it;
    None for nothing."""
    until: str = ""
    """Train the stages up to this one and collect nothing; empty for all."""

    @property
    def what(self) -> str:
        """What is done."""
        stage = f"{self.until} of " if self.until else ""
        return f"{stage}{self.recipe} seed {self.config.seed}"

    def __call__(self) -> Result:
        """Run a recipe's stages and collect its successes, what is done excepted.

        Returns:
            `success`, held out, of each stage and pattern; `attempts` and `kept` episodes of each
            group, and those of the policy after `learn`; the final policy's `policy_hash`; and
            how many `seconds` each part took.

        Raises:
            UsageError: the task's demonstrations are not there.
            CollectionError: the final policy succeeds too seldom.
        """
        from simulation.environment import BatchEnvironment
        from simulation.tasks import get_task

        with telling(*told_as(self.run, self)):
            tell("prepare")
            began, task = time.monotonic(), get_task(self.task)
            demonstrations = load_demonstrations(self.run, task, self.assets)
            with BatchEnvironment(task, self.slots, self.assets) as environments:
                prepared = time.monotonic() - began
                return self._work(demonstrations, environments, {"prepare": prepared})

    def _work(
        self,
        demonstrations: list[Demonstration],
        environments: BatchEnvironment,
        seconds: dict[str, float],
    ) -> Result:
        from generator.checkpoints import policy_hash
        from generator.recipes import get_recipe

        clock = time.monotonic
        began = clock()
        trained = train_recipe(
            self.run, self.recipe, environments, demonstrations, self.config, self.until
        )
        seconds["train"] = clock() - began
        success = {
            stage: [row["success"] for row in report["held_out_success"]]
            for stage, report in trained.reports.items()
            if "held_out_success" in report
        }
        result: Result = {"success": success, "seconds": seconds}
        if self.until:
            return result
        begun, place = clock(), (self.run, self.recipe, self.config.seed, environments, self.assets)
        if self.learned and get_recipe(self.recipe).stages[-1].name != LEARN:
            tell("collect after learn")
            early = collect_learned(*place, self.learned)
            result["learned"] = {"attempts": early.attempts, "kept": early.successes}
        tell("collect")
        report = collect_episodes(*place, self.collect)
        seconds["collect"] = clock() - begun
        kept = {
            "attempts": report.attempts,
            "kept": report.successes,
            "unreleased": report.unreleased,
        }
        return {**result, **kept, "policy_hash": policy_hash(trained.policy)}

    def describe(self, result: Result) -> str:
        """Return success after each stage, and what was collected."""
        words = [
            f"{stage} {'/'.join(f'{rate:.0%}' for rate in rates)}"
            for stage, rates in result["success"].items()
        ]
        if "learned" in result:
            words.append(f"{_share(result['learned'])} after learn")
        if "kept" in result:
            words += [_share(result), f"policy {result['policy_hash'][:12]}"]
        return ", ".join(words)


def _share(counts: Result) -> str:
    """Return how many episodes were kept of how many attempts, and why not more."""
    words = f"{sum(counts['kept'])} episodes of {sum(counts['attempts'])} attempts"
    lost = sum(counts.get("unreleased", ()))
    return f"{words} ({lost} reached the goal but did not let go)" if lost else words


def told_as(run: RunFolder, item: WorkItem) -> tuple[Path, str]:
    """Return the file in which an item tells how far it is, and its name there."""
    name = f"{item.task} {item.what}".strip()
    return run.progress / f"{name.replace('/', '.').replace(' ', '-')}.json", name


def up_to(item: TrainingItem, stage: str) -> TrainingItem:
    """Return the item that trains the stages up to one alone."""
    return replace(item, until=stage)
