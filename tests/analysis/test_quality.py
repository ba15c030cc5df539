"""No-ops, jerk and actions' variance against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.quality import (
    action_variance,
    mean_action_variance,
    mean_squared_jerk,
    no_ops,
)
from analysis.trajectories import DiversityError
from tests.analysis.paths import line, path


def test_no_ops_need_hand_turn_and_fingers_at_rest() -> None:
    waiting = path([[0, 0, 0]] * 5)
    assert no_ops(waiting) == 4
    assert no_ops(line([0.1, 0, 0])) == 0
    assert no_ops(path([[0, 0, 0]] * 5, np.linspace(0, 0.1, 5))) == 0
    gripping = waiting.copy()
    gripping[:, 6] = [0.04, 0.03, 0.02, 0.02, 0.02]
    assert no_ops(gripping) == 2
    creeping = line([10 * 0.0004, 0, 0])
    assert no_ops(creeping) == 10 and no_ops(creeping, period=0.02) == 0
    with pytest.raises(DiversityError, match="fingers"):
        no_ops(waiting[:, :6])


@pytest.mark.parametrize("steps", [10, 40])
def test_jerk_of_a_cubic_is_six_at_any_rate(steps: int) -> None:
    time = np.linspace(0, 2, steps + 1)
    cubic = path(np.stack((time**3, time**2, time), axis=1))
    assert mean_squared_jerk(cubic, 2 / steps) == pytest.approx(36)
    assert mean_squared_jerk(line([1, 0, 0], steps)) == pytest.approx(0, abs=1e-12)


def test_tremor_is_rough() -> None:
    rng = np.random.default_rng(0)
    smooth = line([0.5, 0, 0], 50)
    rough = smooth.copy()
    rough[:, :3] += rng.normal(0, 0.001, (51, 3))
    assert mean_squared_jerk(rough) > 1000 > mean_squared_jerk(smooth)


def test_variance_of_actions_at_equal_progress() -> None:
    quick, slow = np.zeros((11, 7)), np.zeros((41, 7))
    quick[:, 1] = np.linspace(0, 1, 11)
    slow[:, 1] = np.linspace(0, 1, 41)
    assert np.abs(action_variance([quick, slow])).max() == pytest.approx(0, abs=1e-12)
    quick[:, 6], slow[:, 6] = 1, -1
    slow[:, 0] = 0.4
    assert action_variance([quick, slow]).shape == (32, 7)
    assert mean_action_variance([slow, quick]) == {
        "translation": pytest.approx(0.08),
        "rotation": pytest.approx(0),
        "gripper": pytest.approx(2),
    }


def test_bad_input_is_one_clear_error() -> None:
    with pytest.raises(DiversityError, match="four states"):
        mean_squared_jerk(line([1, 0, 0], 2))
    with pytest.raises(DiversityError, match="NaN"):
        no_ops(line([np.nan, 0, 0]))
    with pytest.raises(DiversityError, match="two or more"):
        action_variance([np.zeros((5, 7))])
    with pytest.raises(DiversityError, match="NaN"):
        action_variance([np.zeros((5, 7)), np.full((5, 7), np.nan)])
    with pytest.raises(DiversityError, match="must have shape"):
        action_variance([np.zeros((5, 7)), np.zeros((5, 6))])
