"""What is made of the seconds that building datasets took."""

import numpy as np
import pytest

from benchmarks.dataset import _Plan, _started, _whole
from benchmarks.measure import BenchmarkError
from simulation.assets.resolve import embedded_pack

PLAN = _Plan(embedded_pack(), workers=2, episodes=8, steps=40)


def test_the_whole_is_shared_out_over_the_episodes():
    result = _whole([(16.0, 32.0)], PLAN)
    assert (result.ours, result.peer, result.ratio) == (2.0, 4.0, 0.5)


def test_start_up_is_taken_off_both_sides():
    steps = 8 * 40 - 2
    seconds = np.array([[[10.0 + steps, 5.0 + 3.0 * steps], [10.0, 5.0]]])
    episode, frames = _started(seconds, limit=4.0, plan=PLAN)
    assert (episode.ours, episode.peer) == pytest.approx((40.0, 120.0))
    assert (frames.ours, frames.ratio) == pytest.approx((2.0, 0.5))


def test_a_machine_too_busy_to_tell_is_one_clear_error():
    with pytest.raises(BenchmarkError, match="too busy"):
        _started(np.array([[[10.0, 20.0], [11.0, 10.0]]]), limit=4.0, plan=PLAN)
