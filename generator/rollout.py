"""Lockstep rollouts: an episode is a pure function of task, policy and `EpisodeSpec`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from common.errors import SettingError
from generator.policies.observers import OBSERVERS, Cost, Painters, see_state
from generator.policies.policy import Exploration, Policy
from simulation.scene import Fixtures
from simulation.starts import (
    FIRST_HELD_OUT_INIT,
    OFFICIAL_INITS,
    STARTS_PER_TRAINING_SEED,
    TRAINING_SEEDS,
)

RELEASED_STEPS = 3
"""Steps in a row in which the goal holds and no finger touches anything: then the hand let go."""
RELEASE_LIMIT = 60
"""Control steps, 3 s, that a policy has for that after its first success."""


class Environments(Protocol):
    """What rollouts need of `simulation.environment.BatchEnvironment`."""

    @property
    def num_envs(self) -> int:
        """Number of slots."""

    @property
    def envs(self) -> Sequence[Any]:
        """One environment per slot, with `state`, `joints`, `proprio`, `fixtures` and `resume`."""

    def reset(
        self, slots: Sequence[int], seeds: Sequence[int], init_indices: Sequence[int | None]
    ) -> None:
        """Start episodes in the slots."""

    def step(self, slots: Sequence[int], actions: np.ndarray) -> np.ndarray:
        """Apply actions (n, 7); return success (n,)."""

    def policy_state(self, slots: Sequence[int]) -> np.ndarray:
        """Return the simulator's states (n, P), which policies observe that do not look."""

    def proprio(self, slots: Sequence[int]) -> np.ndarray:
        """Return proprioceptive states (n, 8)."""

    @property
    def painters(self) -> Painters:
        """What draws states of the task."""

    def coarse(self, substeps: int) -> AbstractContextManager[None]:
        """Give every control step that many simulator steps meanwhile."""


@dataclass(frozen=True, eq=False)
class Start:
    """A moment of a demonstration that an episode starts from."""

    state: np.ndarray
    """Of the simulator. Shape: (1 + nq + nv,), float64."""
    seed: int
    """Seed of the demonstration's reset."""
    fixtures: Fixtures
    """Poses of the fixtures."""
    grips: np.ndarray
    """Gripper actions so far. Shape: (t,), of the t steps that went before."""


@dataclass(frozen=True)
class EpisodeSpec:
    """What determines an episode, given task and policy."""

    seed: int
    """Seed of fixtures, of a fresh initial state and of the action noise."""
    init_index: int | None
    """Official init state, or None for a fresh one."""
    pattern: int
    """Pattern z, fixed for the episode; -1 where the policy has none."""
    stream: int = 0
    """Which of the independent streams of action noise for this initial state."""
    start: Start | None = None
    """Moment of a demonstration to start from instead; its steps count towards the horizon."""

    @property
    def first(self) -> int:
        """Steps that went before the episode's first."""
        return 0 if self.start is None else len(self.start.grips)

    def noise(self) -> np.random.Generator:
        """Return the generator of the episode's action noise."""
        return np.random.default_rng([self.seed, self.pattern + 1, self.stream])


@dataclass(frozen=True)
class Rollout:
    """One finished episode of T steps; arrays hold what was seen before each action."""

    spec: EpisodeSpec
    observations: np.ndarray
    """What the policy observes: states of the simulator (T, P) float32, or what it makes of
    pictures."""
    proprio: np.ndarray
    """Shape: (T, 8), float64."""
    actions: np.ndarray
    """As applied, unclipped. Shape: (T, 7), float32."""
    trace: Mapping[str, np.ndarray]
    """What the policy noted of its decisions, arrays with T rows."""
    success: bool
    """Whether the goal held at the end; where a release was asked for, with the fingers free."""
    capture: Capture | None = None
    """Simulator states, where they were asked for."""
    reached: bool = False
    """Whether the goal held at some time."""
    privileged: np.ndarray | None = None
    """States of the simulator (T, P) float32, where the policy observes something else."""
    exploration: Exploration = Exploration()
    """The motion's noise that it acted with."""

    @property
    def states(self) -> np.ndarray:
        """States of the simulator. Shape: (T, P), float32."""
        return self.observations if self.privileged is None else self.privileged

    def __len__(self) -> int:
        """Return T."""
        return len(self.actions)


@dataclass(frozen=True)
class Capture:
    """What a stored trajectory holds beyond a rollout."""

    states: np.ndarray
    """Before each action. Shape: (T, 1 + nq + nv)."""
    joints: np.ndarray
    """Shape: (T, 7)."""
    final_state: np.ndarray
    """Shape: (1 + nq + nv,)."""
    final_proprio: np.ndarray
    """Shape: (8,)."""
    fixtures: Fixtures
    """Poses of the fixtures."""


def rollouts(
    policy: Policy,
    environments: Environments,
    specs: Sequence[EpisodeSpec],
    horizon: int,
    *,
    exploration: Exploration = Exploration(),
    capture: bool = False,
    cost: Cost | None = None,
    through_release: bool = False,
) -> Iterator[tuple[int, Rollout]]:
    """Run an episode per spec and yield `(position in specs, rollout)` as they end.

    Slots take specs in order as they fall free. An episode ends at its first success, or as a
    failure after `horizon` steps. With `through_release` the policy goes on after that success
    until no finger has touched anything for `RELEASED_STEPS` steps in which the goal held, or as a
    failure after `RELEASE_LIMIT` more steps.

    Args:
        policy: pi(a|s,z).
        environments: slots of one task.
        specs: the episodes.
        horizon: steps at most.
        exploration: the motion's noise.
        capture: record simulator states too.
        cost: what the time is counted towards.
        through_release: go on until the fingers have let go.
    """
    cost = cost or Cost()
    waiting = iter(enumerate(specs))
    running: dict[int, _Running] = {}
    while True:
        free = [slot for slot in range(environments.num_envs) if slot not in running]
        started = dict(zip(free, waiting, strict=False))
        if started:
            since = time.process_time()
            _start(environments, started)
            cost.add("simulation", since)
            running |= {
                slot: _Running(
                    i, spec, policy.noise(spec.noise(), exploration), capture, exploration
                )
                for slot, (i, spec) in started.items()
            }
        if not running:
            return
        slots = sorted(running)
        _step(policy, environments, slots, [running[s] for s in slots], cost)
        for slot in slots:
            if running[slot].over(environments.envs[slot], horizon, through_release):
                episode = running.pop(slot)
                yield episode.index, episode.finish(environments.envs[slot])


def _start(environments: Environments, started: dict[int, tuple[int, EpisodeSpec]]) -> None:
    fresh = {slot: spec for slot, (_, spec) in started.items() if spec.start is None}
    if fresh:
        seeds, inits = zip(*((s.seed, s.init_index) for s in fresh.values()), strict=True)
        environments.reset(list(fresh), seeds, inits)
    for slot, (_, spec) in started.items():
        if (start := spec.start) is not None:
            environments.envs[slot].resume(start.seed, start.state, start.fixtures, start.grips)


def _step(
    policy: Policy,
    environments: Environments,
    slots: list[int],
    episodes: list[_Running],
    cost: Cost,
) -> None:
    observations = OBSERVERS[policy.observes](policy, environments, slots, cost)
    since = time.process_time()
    proprio = environments.proprio(slots)
    sees_state = policy.observes == "state"
    states = observations if sees_state else see_state(policy, environments, slots, cost)
    patterns = np.array([e.spec.pattern for e in episodes])
    decision = policy.act(observations, patterns, [e.noise for e in episodes])
    for i, (slot, episode) in enumerate(zip(slots, episodes, strict=True)):
        episode.before(observations[i], proprio[i], environments.envs[slot])
        if not sees_state:
            episode.privileged.append(states[i])
        episode.actions.append(decision.actions[i])
        episode.trace.append({name: part[i] for name, part in decision.trace.items()})
    since = cost.add("policy", since)
    results = environments.step(slots, decision.actions)
    cost.add("simulation", since)
    for episode, success in zip(episodes, results, strict=True):
        episode.success = bool(success)


class _Running:
    """An episode under way."""

    def __init__(
        self, index: int, spec: EpisodeSpec, noise: Any, capture: bool, exploration: Exploration
    ) -> None:
        self.exploration = exploration
        self.index, self.spec, self.capture, self.success = index, spec, capture, False
        self.reached: int | None = None
        self.resting = 0
        self.noise = noise
        self.observations: list[np.ndarray] = []
        self.privileged: list[np.ndarray] = []
        self.proprio: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        self.trace: list[dict[str, np.ndarray]] = []
        self.states: list[np.ndarray] = []
        self.joints: list[np.ndarray] = []

    @property
    def steps(self) -> int:
        """Steps so far, with those before the episode's first."""
        return self.spec.first + len(self.actions)

    def over(self, environment: Any, horizon: int, through_release: bool) -> bool:
        """Return whether the episode has ended, and settle whether it is a success."""
        if self.success and self.reached is None:
            self.reached = self.steps
        if not through_release or self.reached is None:
            return self.success or self.steps >= horizon
        self.resting = self.resting + 1 if self.success and not environment.touching() else 0
        self.success = self.resting >= RELEASED_STEPS
        return self.success or self.steps >= self.reached + RELEASE_LIMIT

    def before(self, observation: np.ndarray, proprio: np.ndarray, environment: Any) -> None:
        """Note what is seen before an action."""
        self.observations.append(observation)
        self.proprio.append(np.array(proprio))
        if self.capture:
            self.states.append(np.array(environment.state()))
            self.joints.append(np.array(environment.joints()))

    def finish(self, environment: Any) -> Rollout:
        """Return the episode's arrays."""
        captured = None
        if self.capture:
            captured = Capture(
                np.stack(self.states),
                np.stack(self.joints),
                np.array(environment.state()),
                np.array(environment.proprio()),
                environment.fixtures(),
            )
        return Rollout(
            self.spec,
            np.stack(self.observations),
            np.stack(self.proprio),
            np.stack(self.actions),
            {name: np.stack([part[name] for part in self.trace]) for name in self.trace[0]},
            self.success,
            captured,
            self.reached is not None,
            np.stack(self.privileged) if self.privileged else None,
            self.exploration,
        )


def rollout(
    policy: Policy,
    environments: Environments,
    specs: Sequence[EpisodeSpec],
    horizon: int,
    *,
    exploration: Exploration = Exploration(),
    capture: bool = False,
    cost: Cost | None = None,
) -> list[Rollout]:
    """Return the rollouts of `rollouts`, in the order of specs."""
    stream = rollouts(
        policy,
        environments,
        specs,
        horizon,
        exploration=exploration,
        capture=capture,
        cost=cost,
    )
    return [finished for _, finished in sorted(stream, key=lambda item: item[0])]


def training_specs(
    first: int, episodes: int, patterns: int, fresh_share: float, seed: int
) -> list[EpisodeSpec]:
    """Return training episodes `first`, `first + 1`, ...: each initial state once per pattern.

    Each training seed has a range of episode seeds of its own, below those of evaluation.

    Raises:
        SettingError: the seed is not in 0..`TRAINING_SEEDS` - 1, or there are too many episodes.
    """
    groups = max(patterns, 1)
    numbers = range(first // groups, (first + episodes) // groups)
    if seed not in range(TRAINING_SEEDS) or numbers.stop > STARTS_PER_TRAINING_SEED:
        raise SettingError(
            f"training seed {seed} with {numbers.stop} initial states: seeds go from 0 to "
            f"{TRAINING_SEEDS - 1}, with {STARTS_PER_TRAINING_SEED} initial states each"
        )
    offset = seed * STARTS_PER_TRAINING_SEED
    return _specs(numbers, offset, range(FIRST_HELD_OUT_INIT), fresh_share, patterns, groups)


def held_out_specs(
    numbers: range, seed: int, patterns: int, fresh_share: float, groups: int | None = None
) -> list[EpisodeSpec]:
    """Return held-out episodes: initial state j of `numbers` once per group, with seed `seed + j`.

    Groups are the patterns; without patterns, they are independent streams of action noise
    (one unless given), so that recipes can be compared on the same initial states.
    """
    inits = range(FIRST_HELD_OUT_INIT, OFFICIAL_INITS)
    return _specs(numbers, seed, inits, fresh_share, patterns, groups or max(patterns, 1))


def _specs(
    numbers: range, seed: int, inits: range, fresh_share: float, patterns: int, groups: int
) -> list[EpisodeSpec]:
    specs = []
    for number in numbers:
        fresh = int((number + 1) * fresh_share) > int(number * fresh_share)
        official = number - int(number * fresh_share)
        init_index = None if fresh else inits[official % len(inits)]
        for group in range(groups):
            pattern, stream = (group, 0) if patterns else (-1, group)
            specs.append(EpisodeSpec(seed + number, init_index, pattern, stream))
    return specs


def evaluate(
    policy: Policy,
    environments: Environments,
    specs: Sequence[EpisodeSpec],
    horizon: int,
    *,
    exploration: Exploration,
) -> np.ndarray:
    """Return the success of each spec. Shape: (len(specs),), bool."""
    done = rollout(policy, environments, specs, horizon, exploration=exploration)
    return np.array([r.success for r in done], dtype=bool)
