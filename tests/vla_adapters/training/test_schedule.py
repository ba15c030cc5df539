from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lerobot.optim.schedulers import CosineDecayWithWarmupSchedulerConfig

from vla_adapters.training.config import PRESETS, Optimisation, TrainConfig
from vla_adapters.training.schedule import learning_rate, seed_step, steps_of


@pytest.mark.parametrize("total", [300, 30_000, 50_000])
def test_pi0s_learning_rate_is_lerobots(total):
    preset = PRESETS["pi0", "full"]
    published = CosineDecayWithWarmupSchedulerConfig(
        num_warmup_steps=preset.warm_up,
        num_decay_steps=preset.decay,
        peak_lr=preset.learning_rate,
        decay_lr=preset.final_learning_rate,
    )
    optimiser = torch.optim.AdamW([torch.zeros(1)], preset.learning_rate)
    factor = published.build(optimiser, total).lr_lambdas[0]
    for step in {0, 1, 5, 9, 10, 11, 999, 1000, 1001, total // 2, total - 1}:
        wanted = preset.learning_rate * factor(step)
        assert learning_rate(step, total, preset) == pytest.approx(wanted, rel=1e-9)


def test_steps_end_with_the_last_epoch():
    assert steps_of(7, 29, 7) == 29, "29 / 7 * 7 is more in floating point"
    assert steps_of(2, 5, 3) == 4 and steps_of(1, 1, 8) == 1


def test_a_constant_rate_stays():
    settings = Optimisation(5e-4)
    assert {learning_rate(step, 100, settings) for step in range(100)} == {5e-4}


def test_a_cosine_that_is_asked_for_falls_over_the_whole_training():
    config = TrainConfig(("data",), Path("out"), "openvla", schedule="cosine", learning_rate=1e-3)
    rates = [learning_rate(step, 100, config.optimisation) for step in range(100)]
    assert rates[0] == 1e-3 and rates[50] == pytest.approx(5e-4) and rates[-1] < 1e-6
    assert rates == sorted(rates, reverse=True)


def test_seeds_differ_by_step_part_and_rank_and_come_again():
    def draw(*numbers):
        generator = seed_step(7, *numbers)
        return float(torch.rand((), generator=generator)), float(torch.rand(()))

    keys = [(step, part, rank) for step in range(3) for part in range(2) for rank in range(2)]
    drawn = {key: draw(*key) for key in keys}
    assert len(set(drawn.values())) == len(keys)
    assert all(draw(*key) == value for key, value in drawn.items())
