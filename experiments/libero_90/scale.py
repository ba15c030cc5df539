"""What LIBERO-90 would take and cost with more episodes and machines, from what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.libero_90.scoreboard import Scoreboard, TaskRow

EPISODES = (51, 501, 5001)
"""Of a task and a recipe: the multiples of three patterns next above 50, 500 and 5,000."""
MEMORY = 4.0
"""GB beside each vCPU; a training's process peaks at about 2.4."""
PRICES = (
    "approximate prices in us-central1, US dollars, not compared with the pages that are named; "
    "look them up before you order"
)


@dataclass(frozen=True)
class Price:
    """What a provider asks for an hour."""

    label: str
    vcpu: float
    """US dollars for a vCPU and hour."""
    gigabyte: float
    """US dollars for a GB of memory and hour."""
    source: str
    """Page of the prices."""

    @property
    def hour(self) -> float:
        """US dollars for a vCPU with its memory and hour."""
        return self.vcpu + MEMORY * self.gigabyte


MACHINE = Price(
    "N2D on demand", 0.027502, 0.003686, "https://cloud.google.com/compute/vm-instance-pricing"
)
DATAFLOW = Price("Dataflow, batch", 0.056, 0.003557, "https://cloud.google.com/dataflow/pricing")


@dataclass(frozen=True)
class Place:
    """Where a run may be."""

    label: str
    workers: int
    """Cores that work."""
    price: Price
    options: str
    """Of `dlr generate`, beside what is generated."""


PLACES = (
    Place("2 cores", 2, MACHINE, "--workers 2 --run runs/libero_90"),
    Place("96 cores", 96, MACHINE, "--workers 96 --run runs/libero_90"),
    Place(
        "Flink, 96 workers", 96, MACHINE,
        "--beam runner=FlinkRunner,flink_master=HOST:8081,parallelism=96 --run SHARED",
    ),
    Place(
        "Dataflow, 180 workers", 180, DATAFLOW,
        "--beam runner=DataflowRunner,project=P,region=us-central1,num_workers=180 --run SHARED",
    ),
)  # fmt: skip
"""LIBERO-90 with two recipes has 180 trainings, each of which is one core's."""


@dataclass(frozen=True)
class TaskCost:
    """What a task takes on one core."""

    demonstrate: float
    """Seconds of its demonstrations."""
    train: Sequence[float]
    """Seconds of each recipe's training, without what is collected at the end."""
    episode: Sequence[float]
    """Seconds of each kept episode, failed attempts counted, of each recipe's final policy."""

    def total(self, episodes: int) -> float:
        """Return the seconds on one core with so many episodes a recipe."""
        return self.demonstrate + sum(self.train) + episodes * sum(self.episode)

    def longest(self, episodes: int) -> float:
        """Return the seconds that no number of cores makes fewer."""
        pairs = zip(self.train, self.episode, strict=True)
        return self.demonstrate + max(train + episodes * one for train, one in pairs)


@dataclass(frozen=True)
class Estimate:
    """What a whole suite takes somewhere."""

    hours: float
    """At least: the cores never wait, or the longest task alone."""
    dollars: float
    """Of the core hours, none of them idle."""


class Costs:
    """What the finished tasks took, as those of a whole suite.

    Args:
        rows: finished tasks.
        tasks: how many the suite has; those that are missing are taken to be like the others.
    """

    def __init__(self, rows: Sequence[TaskRow], tasks: int) -> None:
        costs = [_cost(row) for row in rows]
        self.costs = [cost for cost in costs if cost]
        self._share = tasks / len(self.costs) if self.costs else 0.0

    @staticmethod
    def of(board: Scoreboard) -> Costs:
        """Return the costs of a scoreboard's tasks."""
        return Costs(board.finished, board.tasks)

    def core_hours(self, episodes: int) -> float:
        """Return the core hours of the suite with so many episodes a task and recipe."""
        return self._share * sum(cost.total(episodes) for cost in self.costs) / 3600

    def means(self) -> tuple[float, float, float]:
        """Return a task's mean seconds: demonstrations, trainings, an episode of each recipe."""
        return (
            statistics.fmean(cost.demonstrate for cost in self.costs),
            statistics.fmean(sum(cost.train) for cost in self.costs),
            statistics.fmean(sum(cost.episode) for cost in self.costs),
        )

    def estimate(self, place: Place, episodes: int) -> Estimate:
        """Return hours and dollars somewhere."""
        total = self.core_hours(episodes)
        longest = max(cost.longest(episodes) for cost in self.costs) / 3600
        return Estimate(max(total / place.workers, longest), total * place.price.hour)


def command(place: Place, episodes: int) -> str:
    """Return the command of a run somewhere."""
    return (
        "dlr generate --suite libero_90 --recipes dlr,o2o_rl --demonstrations.source scripted "
        f"--demonstrations.episodes-per-way 40 --collect.episodes {episodes} {place.options}"
    )


def _cost(row: TaskRow) -> TaskCost | None:
    """Return a task's costs; None where a recipe kept nothing, or its costs were not noted."""
    recipes = list(row.recipes.values())
    last = [f"collect {recipe.result.final}" for recipe in recipes]
    known = all(name in r.result.costs for name, r in zip(last, recipes, strict=True))
    if not known or not all(recipe.kept for recipe in recipes) or not row.times.demonstrations:
        return None
    return TaskCost(
        row.times.demonstrations,
        [r.result.seconds - r.result.costs[name] for name, r in zip(last, recipes, strict=True)],
        [r.result.costs[name] / r.kept for name, r in zip(last, recipes, strict=True)],
    )
