"""Ways are named by what differs in the hand's path, on episodes that were not learnt from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analysis.trajectories import DiversityError
from analysis.ways import POINTS, WayClassifier, features, name_held_out, tell_apart, yaws
from demonstrations.config import Style
from demonstrations.scripted import Scripted
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.tasks import get_task

DRAWER = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")


def path(arc: float, turn: float, rng: np.random.Generator, tilt: float = 0.0) -> np.ndarray:
    """Return a path (T, 8) half a metre forward, aside by `arc` m, turning by `turn` rad.

    Its speed, start and tremor are drawn.
    """
    t = np.linspace(0.0, 1.0, rng.integers(40, 120)) ** rng.uniform(0.6, 1.6)
    positions = np.stack((0.5 * t, arc * np.sin(np.pi * t), 1 + 0 * t), axis=1)
    positions += rng.normal(0, 0.01, 3) + rng.normal(0, 0.001, positions.shape)
    yaw = Rotation.from_euler("z", (turn * t + rng.normal(0, 0.03))[:, None])
    down = Rotation.from_euler("x", np.pi + tilt)
    return np.concatenate((positions, (yaw * down).as_rotvec(), np.zeros((len(t), 2))), axis=1)


def paths(
    arcs: tuple[float, ...], turns: tuple[float, ...], seed: int, count: int = 15
) -> tuple[list[np.ndarray], list[str]]:
    """Return `count` paths of each way, a way for each arc and turn, and their ways' names."""
    rng = np.random.default_rng(seed)
    kinds = list(zip(arcs, turns, strict=True))
    made = [path(arc, turn, rng) for arc, turn in kinds for _ in range(count)]
    return made, [f"way {number}" for number in range(len(kinds)) for _ in range(count)]


def test_what_differs_is_what_tells_ways_apart() -> None:
    by_arc = tell_apart(*paths((-0.1, 0.0, 0.1), (0.0, 0.0, 0.0), seed=0))
    by_turn = tell_apart(*paths((0.0, 0.0, 0.0), (-0.5, 0.0, 0.5), seed=1))
    for apart, telling, silent in (
        (by_arc, by_arc.positions, by_arc.yaw),
        (by_turn, by_turn.yaw, by_turn.positions),
    ):
        assert telling.rate == apart.both.rate == 1 and telling.total == 45
        low, high = silent.interval
        assert low < 1 / 3 < high
    assert by_arc.positions.interval[0] == pytest.approx(0.921, abs=1e-3)


def test_names_of_nothing_are_guesses_and_a_seed_draws_the_same_parts() -> None:
    alike = paths((0.0, 0.0), (0.0, 0.0), seed=3, count=20)
    low, high = tell_apart(*alike).both.interval
    assert low < 1 / 2 < high
    assert name_held_out(*alike, seed=5) == name_held_out(*alike, seed=5)
    assert name_held_out(*alike, seed=5) != name_held_out(*alike, seed=6)


def test_others_are_named_by_what_was_learnt() -> None:
    classifier = WayClassifier(*paths((-0.1, 0.1), (0.0, 0.0), seed=0), "positions")
    others, ways = paths((0.12, -0.09), (2.0, -2.0), seed=9, count=3)
    assert classifier.name(others) == ["way 1"] * 3 + ["way 0"] * 3
    assert classifier.accuracy(others, ways).correct == 0


@pytest.mark.parametrize("tilt", [0.0, 0.6])
def test_yaw_is_the_turn_about_the_vertical_without_jumps(tilt: float) -> None:
    rng = np.random.default_rng(0)
    turned = yaws(path(0.0, 5.0, rng, tilt))
    assert turned[-1] - turned[0] == pytest.approx(5.0, abs=0.01)
    assert np.abs(np.diff(turned)).max() < 0.5


def test_a_turn_begins_in_the_nearest_half_turn() -> None:
    """Two poses that are all but equal, on either side of where a quaternion changes its sign."""
    down = Rotation.from_euler("x", np.pi)
    poses = [(Rotation.from_euler("zx", (0.3, tilt)) * down).as_rotvec() for tilt in (0.01, -0.01)]
    first = [yaws(np.tile([0.0, 0.0, 0.0, *pose], (2, 1)))[0] for pose in poses]
    assert first == pytest.approx([0.3, 0.3], abs=0.01)


def test_features_see_neither_speed_nor_waiting() -> None:
    quick = path(0.1, 0.0, np.random.default_rng(0))
    waiting = np.concatenate((np.repeat(quick[:20], 3, axis=0), quick[20:]))
    seen = features([quick, waiting])
    assert seen.shape == (2, POINTS * 4)
    positions = seen[:, : POINTS * 3]
    np.testing.assert_allclose(positions[0], positions[1], atol=1e-9)
    assert np.isfinite(features([np.repeat(quick[:1], 5, axis=0)])).all()


def test_bad_paths_are_one_clear_error() -> None:
    good, ways = paths((0.0, 0.1), (0.0, 0.0), seed=0, count=2)
    with pytest.raises(DiversityError, match="demonstrate more"):
        tell_apart(good[:3], ways[:3])
    with pytest.raises(DiversityError, match="4 paths and 3 names"):
        tell_apart(good, ways[:3])
    with pytest.raises(DiversityError, match="must have shape"):
        features([good[0][:, :3]])
    with pytest.raises(DiversityError, match="NaN"):
        features([np.full((4, 8), np.nan)])


def test_scripted_ways_are_told_apart() -> None:
    env, scripted = Environment(DRAWER, embedded_pack()), Scripted(DRAWER)
    found = []
    for way in scripted.ways:
        for seed in range(3):
            env.reset(seed, seed)
            env.settle()
            rng = np.random.default_rng(seed)
            found.append(scripted.demonstrate(env, way, rng, Style()))
    apart = tell_apart([e.path for e in found], [e.info.way for e in found])
    assert apart.positions.correct == apart.both.correct == len(found) >= 6
