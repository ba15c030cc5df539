"""The objects axis: what the task is about lies where no official start has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from eval_harness.perturbations.base import Perturbation, PerturbationError, WorldStart
from eval_harness.perturbations.placing import (
    Ground,
    Group,
    find_groups,
    goal_names,
    move_group,
    named_groups,
    pose_address,
    root_position,
    stands,
)
from simulation.environment import Environment

_TRIES = 200
_STEP = 0.01
"""m."""
_FURTHER = 0.2
"""How much farther the last of the tries goes, m; the second half goes ever farther."""
_FIXTURE_TURN = 0.25
"""Share of the turn of an object that a fixture is turned."""
_SHARES = (1.0, 0.75, 0.5, 0.25)
"""Shares of the distance and the turn that are tried, each where there is no place for the last."""
_FARTHEST = 0.4
"""Farthest that anything is moved in looking for a place that no official start has, m."""
_RELATIONS = {"left", "right", "middle", "front", "back", "next", "between"}
"""Words by which an instruction tells things apart: what it names then moves as one."""


@dataclass(frozen=True)
class Objects(Perturbation):
    """Moves what the goal is about, and turns it.

    Each object ends at least its distance away from where any of the 50 official starts has it; a
    fixture, from where it stands. Where there is no free place, it is farther, and where there
    is none there either, nearer. What lies on or in something moves with it. Where the
    instruction tells things apart by where they are, all that it names moves by the same way.
    """

    axis: ClassVar[str] = "objects"
    neutral: ClassVar[bool] = False
    shift: float = 0.1
    """Most, beyond the official starts, m."""
    turn: float = 90.0
    """Most, to either side, degrees; fixtures a quarter of it."""

    def start(self, start: WorldStart, env: Environment, seed: int) -> WorldStart:
        """Return the start with its objects elsewhere.

        Raises:
            PerturbationError: there is no free place on the table so far away.
        """
        if not self.active:
            return start
        rng = self.draws(env.task, seed)
        amount = self.amount(rng)
        bundles = _bundles(env)
        for bundle in bundles:
            moves = (self._move(start, env, bundle, rng, amount * share) for share in _SHARES)
            moved = next((move for move in moves if move is not None), None)
            if moved is None:
                raise PerturbationError(
                    f"{', '.join(g.root for g in bundle)} of {env.task.key} finds no free place "
                    f"{100 * self.shift * amount * _SHARES[-1]:.1f} cm off the official starts: "
                    "give a lower level"
                )
            start = moved
        return start

    def _move(
        self,
        start: WorldStart,
        env: Environment,
        bundle: list[Group],
        rng: np.random.Generator,
        amount: float,
    ) -> WorldStart | None:
        """Return the start with these groups moved by one way, each turned by itself.

        None where there is no free place.
        """
        scene, ground = env.scene, Ground(start, env)
        members = [name for group in bundle for name in group.members]
        roots = [root_position(start, scene, group.root)[:2] for group in bundle]
        starts = [_official(env, group.root, at) for group, at in zip(bundle, roots, strict=True)]
        turns = np.deg2rad(self.turn) * amount * rng.choice((-1.0, 1.0), len(bundle))
        fixed = np.array([group.root in scene.fixture_names for group in bundle])
        turns[fixed] *= _FIXTURE_TURN
        for attempt in range(_TRIES):
            angle = rng.uniform(0, 2 * np.pi)
            direction = np.array([np.cos(angle), np.sin(angle)])
            way = _way(direction, roots, starts, self.shift * amount)
            if way is None:
                continue
            way = way + direction * (_FURTHER * max(0.0, 2 * attempt / _TRIES - 1))
            if not all(
                ground.fits(group.members, at, way, members)
                for group, at in zip(bundle, roots, strict=True)
            ):
                continue
            moved = start
            if attempt >= _TRIES // 2:  # where things stand close, they can slide, but not turn
                turns[fixed | (len(bundle) > 1)] = 0.0
            for group, turn in zip(bundle, turns, strict=True):
                moved = move_group(moved, scene, group, way, float(turn))
            if stands(moved, env, [group.members for group in bundle], start):
                return moved
        return None


def _bundles(env: Environment) -> list[list[Group]]:
    """Return the groups that move, and which of them together."""
    if _RELATIONS & set(env.task.language.split()):
        return [named_groups(env.task, env.scene)]
    about = goal_names(env.task)
    return [[group] for group in find_groups(env.task, env.scene) if group.among(about)]


def _official(
    env: Environment, name: str, here: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return where the official starts have an object, m, (n, 2); a fixture, where it is."""
    if name in env.scene.fixture_names:
        return here[None]
    at = pose_address(env.scene, name)
    return np.concatenate((env.task.init_states()[:, at : at + 2], here[None]))


def _way(
    direction: npt.NDArray[np.float64],
    roots: list[npt.NDArray[np.float64]],
    starts: list[npt.NDArray[np.float64]],
    least: float,
) -> npt.NDArray[np.float64] | None:
    """Return the shortest way in a direction after which all are as far off as asked, m (2,)."""
    for length in np.arange(least, _FARTHEST, _STEP):
        way = direction * length
        if all(
            np.linalg.norm(official - (root + way), axis=1).min() >= least
            for root, official in zip(roots, starts, strict=True)
        ):
            return way
    return None
