"""Which episodes an evaluation consists of: work items that depend on nothing but themselves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import SettingError
from eval_harness.perturbations.table import begin_otherwise
from eval_harness.policy import EpisodeKey
from eval_harness.protocols import Protocol
from simulation.environment import Environment
from simulation.scene import Fixtures
from simulation.starts import stored_index
from simulation.tasks import SUITES, Task, get_task, list_tasks

IN_DISTRIBUTION = ("libero_90",)
"""Suites of the tasks that the papers' policies are pretrained on."""
OUT_OF_DISTRIBUTION = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
"""Suites that they have not seen."""


_DIGITS = 6
"""Decimals by which starts are told apart, of m, rad and what the state has besides."""


@dataclass(frozen=True, eq=False)
class Start:
    """A start other than the official init state and the protocol's settling."""

    seed: int = 0
    """Seed of the reset."""
    init_index: int | None = None
    """Official init state, or None."""
    state: np.ndarray | None = None
    """Simulator state, float64 (1 + nq + nv,), instead of an init state."""
    fixtures: Fixtures | None = None
    """Poses of the fixtures; by default those that the seed draws."""
    settle_steps: int = 0
    """Steps with the gripper open before the episode."""

    @property
    def digest(self) -> str:
        """Tells starts apart: equal where state and fixtures are, rounded to a millionth.

        Recorded states of one start may differ in their last bits. What the start does not have
        the seed draws.
        """
        placed = self.fixtures
        drawn = [] if self.state is not None and placed is not None else [self.seed]
        state = [] if self.state is None else [self.state[1:]]
        poses = [] if placed is None else [placed.positions, placed.quaternions]
        found = hashlib.sha256(repr((drawn, self.init_index)).encode())
        for numbers in (*state, *poses):
            found.update((np.round(np.asarray(numbers, float), _DIGITS) + 0.0).tobytes())
        return found.hexdigest()[:16]


@dataclass(frozen=True)
class Item:
    """One episode to run."""

    key: EpisodeKey
    """What the policy may know of it."""
    fixture_seed: int
    """Seed that draws the fixtures' poses."""
    horizon: int
    """Control steps after settling by which it must succeed."""
    start: Start | None = None
    """Another start than the official one."""

    @property
    def task(self) -> Task:
        """The item's task."""
        return get_task(self.key.task)

    @property
    def other_start(self) -> str:
        """Digest of a start that is no official init state; empty for those."""
        return self.start.digest if self.start and self.key.init_index < 0 else ""

    def begin(self, env: Environment, protocol: Protocol) -> None:
        """Reset an environment of the item's task to the moment of the policy's first look.

        Raises:
            InvalidStateError: the start does not belong to the task.
            PerturbationError: there is no room for what the protocol puts elsewhere.
        """
        start = self.start
        if start is None:
            env.reset(self.fixture_seed, self.key.init_index)
            begin_otherwise(env, protocol.perturbations, self.key.seed)
            action = np.array(protocol.settle_action)
            for _ in range(protocol.settle_steps):
                env.step(action)
        else:
            env.reset(start.seed, start.init_index, start.state, start.fixtures)
            begin_otherwise(env, protocol.perturbations, self.key.seed)
            env.settle(start.settle_steps)


FindStart = Callable[[str, int], Start | None]
"""From a task's key and an episode's number to its own start, or None for the official one."""


def make_item(
    protocol: Protocol, task: Task, episode: int, seed: int = 0, start: Start | None = None
) -> Item:
    """Return one episode of a task.

    Args:
        protocol: the protocol.
        task: the task.
        episode: number of the episode, from 0; official init states are used in order.
        seed: the evaluation's own seed; 0 follows the protocol.
        start: another start than the official one.
    """
    init_index = episode % task.init_count
    if start is not None:
        init_index = stored_index(start.init_index)
    words = f"{protocol.policy_seed}\0{seed}\0{task.key}\0{episode}"
    drawn = int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big")
    return Item(
        EpisodeKey(task.key, episode, init_index, drawn),
        protocol.fixture_seed(episode, seed),
        protocol.horizons[task.base_suite],
        start,
    )


def make_items(
    protocol: Protocol,
    tasks: Iterable[Task],
    episodes: int | None = None,
    seed: int = 0,
    find_start: FindStart = lambda task, episode: None,
) -> list[Item]:
    """Return all episodes of an evaluation, task by task.

    Args:
        protocol: the protocol.
        tasks: the tasks.
        episodes: episodes of each task; by default the protocol's trials.
        seed: the evaluation's own seed; 0 follows the protocol.
        find_start: gives an episode's own start, where it has one.

    Raises:
        SettingError: there is no task, or no episode.
    """
    count = protocol.trials if episodes is None else episodes
    items = [
        make_item(protocol, task, episode, seed, find_start(task.key, episode))
        for task in tasks
        for episode in range(count)
    ]
    if not items:
        raise SettingError("an evaluation needs at least one task and one episode")
    return items


def check_starts_once(items: Iterable[Item]) -> None:
    """Check that no start comes twice: what stops early counts each episode as independent.

    Raises:
        SettingError: a start of a task comes again.
    """
    found: dict[str, list[str]] = {}
    for item in items:
        start = item.other_start or str(item.key.init_index)
        found.setdefault(item.key.task, []).append(start)
    repeats = {task: starts for task, starts in found.items() if len(set(starts)) < len(starts)}
    if repeats:
        task, starts = next(iter(repeats.items()))
        most = min(map(_before_a_repeat, repeats.values()))
        raise SettingError(
            f"{len(starts)} episodes of {task} begin at {len(set(starts))} starts, and what stops "
            f"early takes each for a start of its own: ask for {most} episodes or fewer "
            f"(--episodes {most}), or run all without a rule"
        )


def _before_a_repeat(starts: Sequence[str]) -> int:
    """Return how many starts come before the first that has been there already."""
    seen: set[str] = set()
    for count, start in enumerate(starts):
        if start in seen:
            return count
        seen.add(start)
    return len(starts)


def choose_tasks(names: Sequence[str] = (), suites: Sequence[str] = ()) -> list[Task]:
    """Return the tasks of these names and suites, each once, in the order asked for.

    Raises:
        UnknownTaskError: no task or suite has the name.
        SettingError: nothing is named.
    """
    chosen = [task for suite in suites for task in list_tasks(suite)]
    chosen += [get_task(name) for name in names]
    if not chosen:
        raise SettingError(f"name at least one task or suite; the suites are {', '.join(SUITES)}")
    return list(dict.fromkeys(chosen))


@dataclass(frozen=True)
class Shard:
    """One of `count` shares of an evaluation, by turns."""

    index: int = 0
    """Which, from 0."""
    count: int = 1
    """How many there are."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            SettingError: the index is not below the count.
        """
        if not 0 <= self.index < self.count:
            raise SettingError(
                f"there is no shard {self.index}/{self.count}; with {self.count} the shards are "
                f"0/{self.count} to {self.count - 1}/{self.count}"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`.

        Raises:
            SettingError: it is of another form or out of range.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None:
            raise SettingError(f"a shard is i/n, such as 0/3, not {text!r}")
        return cls(int(match[1]), int(match[2]))

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Return this shard's items, in order."""
        return list(items[self.index :: self.count])
