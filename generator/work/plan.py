"""Which work items a run of many tasks has, and which of them come after which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from common.workers import After
from demonstrations.config import DemonstrationConfig
from demonstrations.ranges import check_demonstrations
from generator.config import CollectConfig, GeneratorConfig
from generator.recipes import check_recipe, get_recipe
from generator.run_folder import SLOTS, RunFolder
from generator.stages import Stage
from generator.stages.ranges import check_collect, check_seeds, check_settings, check_slots
from generator.work.items import Demonstrate, TrainingItem, WorkItem, up_to

if TYPE_CHECKING:
    from simulation.assets.resolve import AssetPack
    from simulation.tasks import Task


@dataclass
class Plan:
    """Work items in the order in which they should begin."""

    items: list[WorkItem] = field(default_factory=list)
    """What is to be done."""
    _after: list[tuple[int, ...]] = field(default_factory=list)
    _may_fail: list[frozenset[int]] = field(default_factory=list)
    _trained: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def add(self, item: WorkItem, after: Iterable[int] = (), ended: Iterable[int] = ()) -> int:
        """Add an item; return its place.

        Args:
            item: what is to be done.
            after: places of the items that must have been done.
            ended: places of those that need only have ended, though they have failed.
        """
        self.items.append(item)
        may_fail = frozenset(ended)
        self._after.append((*after, *may_fail))
        self._may_fail.append(may_fail)
        return len(self.items) - 1

    def once(self, item: WorkItem, after: Iterable[int] = ()) -> int:
        """Add an item that must have been done; return the place of an equal one if there is one.

        Two items that make the same file at once would be in each other's way.
        """
        return self.items.index(item) if item in self.items else self.add(item, after)

    def train(self, item: TrainingItem, after: int) -> int:
        """Add a training, which waits for an earlier one that shares its first stages.

        Args:
            item: the training.
            after: place of the item that must have been done.

        Returns:
            Its place.
        """
        stages = get_recipe(item.recipe).stages
        if item.until:
            stages = stages[: [stage.name for stage in stages].index(item.until) + 1]
        of = item.run, item.task, item.config.seed
        chain = [(*of, stages[:depth]) for depth in range(len(stages), 0, -1)]
        first = next((self._trained[key] for key in chain if key in self._trained), after)
        place = self.add(item, (after,), () if first == after else (first,))
        for key in chain:
            self._trained.setdefault(key, place)
        return place

    @property
    def after(self) -> After:
        """Which items wait for which."""
        return After(self._after, self._may_fail)


@dataclass(frozen=True)
class Settings:
    """What is done for each task, looked at before anything is."""

    recipes: tuple[str, ...]
    """Names of the recipes."""
    seeds: tuple[int, ...]
    """Seeds of the trainings."""
    demonstrate: DemonstrationConfig
    """Which demonstrations, and how many."""
    train: GeneratorConfig
    """Settings of the trainings, of which the seed is not used."""
    collect: CollectConfig
    """What is collected with the final policies."""
    learned: CollectConfig | None
    """What is collected with the policies after `learn`; None for nothing."""
    slots: int = SLOTS
    """Environments stepped together."""

    def __post_init__(self) -> None:
        """Look at all numbers.

        Raises:
            CheckpointError: the weights of a network that looks at pictures are not there.
            RecipeError: there is no such recipe.
            SettingError: a setting is out of its range, or does not fit a recipe.
        """
        check_slots(self.slots)
        check_demonstrations(self.demonstrate, "demonstrations")
        check_seeds(self.seeds)
        check_settings(self.train)
        for name in self.recipes:
            check_recipe(get_recipe(name), self.train)
        for config in filter(None, (self.collect, self.learned)):
            check_collect(config, "collect")


def plan_demonstrations(
    plan: Plan, run: RunFolder, task: Task, settings: Settings, assets: AssetPack
) -> int:
    """Add a task's demonstrations, unless they are planned already; return their place."""
    from demonstrations.make import DemonstrationItem, possible

    source = possible(task, settings.demonstrate)
    shown = DemonstrationItem(task.key, run.demonstrations(task), source, assets)
    return plan.once(Demonstrate(run, shown))


def plan_task(
    plan: Plan, run: RunFolder, task: Task, settings: Settings, assets: AssetPack
) -> dict[tuple[str, int], int]:
    """Add a task's items: its demonstrations, then a training of each recipe and seed.

    A stage that several recipes share is trained once, by the first of them in an item of its own,
    after which the others begin. What an earlier call has planned is not planned again, and is
    waited for where a stage is shared.

    Returns:
        The place of each recipe's and seed's training among the items.
    """
    first, places = plan_demonstrations(plan, run, task, settings, assets), {}
    for seed in settings.seeds:
        shared: dict[tuple[Stage, ...], int] = {}
        chains = {name: get_recipe(name).stages for name in settings.recipes}
        for name, stages in chains.items():
            others = [other for key, other in chains.items() if key != name]
            item = TrainingItem(
                run, task.key, name, replace(settings.train, seed=seed), settings.collect,
                assets, settings.slots, settings.learned,
            )  # fmt: skip
            after = first
            for depth, stage in enumerate(stages, 1):
                prefix = stages[:depth]
                if not any(other[:depth] == prefix for other in others):
                    break
                if prefix not in shared:
                    shared[prefix] = plan.train(up_to(item, stage.name), after)
                after = shared[prefix]
            places[name, seed] = plan.train(item, after)
    return places
