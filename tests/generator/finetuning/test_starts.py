"""Where training starts along demonstrations lie."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from common.errors import SettingError
from demonstrations.demonstration import Demonstration, Moments
from generator.finetuning.starts import FIRST_REACH, Curriculum
from generator.rollout import EpisodeSpec, Rollout
from simulation.scene import Fixtures


def demonstration(steps: int, seed: int) -> Demonstration:
    """Return one whose states tell their step."""
    states = np.arange(steps, dtype=float)[:, None]
    moments = Moments(states, seed, cast(Fixtures, None))
    nothing = np.zeros((steps, 8))
    return Demonstration(nothing, nothing, np.ones((steps, 7)), moments=moments)


def specs(episodes: int) -> list[EpisodeSpec]:
    """Return starts from resets, of two patterns by turns."""
    return [EpisodeSpec(seed, None, seed % 2) for seed in range(episodes)]


def test_starts_lie_near_the_end_and_within_the_horizon() -> None:
    shown = [demonstration(steps, steps) for steps in (60, 90, 300)]
    curriculum = Curriculum([*shown, *shown], [0, 0, 0, 1, 1, 1], 2, 0.5, horizon=90)
    placed = curriculum.place(specs(400), [0])
    starts = [spec.start for spec in placed if spec.start is not None]
    assert len(starts) == 200 and {start.seed for start in starts} == {60, 90}
    for start in starts:
        at, steps = start.state.item(), start.seed
        assert len(start.grips) == at < steps and at >= int((1 - FIRST_REACH) * steps)


def test_starts_move_back_for_the_pattern_that_masters_them() -> None:
    shown = [demonstration(100, 0), demonstration(100, 1)]
    curriculum = Curriculum(shown, [0, 1], 2, 1.0, horizon=100)
    placed = curriculum.place(specs(10), [0])
    nothing = np.zeros((1, 0))
    done = [Rollout(s, nothing, nothing, nothing, {}, s.pattern == 1) for s in placed]
    measures = curriculum.note(done)
    assert measures["success_from_demonstrations/0"] == 0.0
    assert measures["success_from_demonstrations/1"] == 1.0
    assert curriculum.reach == [FIRST_REACH, 2 * FIRST_REACH]


def test_a_pattern_whose_demonstrations_outlast_the_horizon_is_refused() -> None:
    shown = [demonstration(60, 0), demonstration(300, 1)]
    with pytest.raises(SettingError, match=r"every pattern .* of 90 steps at most"):
        Curriculum(shown, [0, 1], 2, 0.5, horizon=90)
    Curriculum(shown, [0, 1], 2, 0.0, horizon=90)
