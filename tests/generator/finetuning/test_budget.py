"""The least pattern's held-out success decides what comes next."""

import pytest

from generator.config import BudgetConfig
from generator.finetuning.budget import choose_budget, needs_filter


@pytest.mark.parametrize(
    ("rates", "choice", "pattern", "steps"),
    [
        ((0.96, 0.48, 1.0), "improve", 1, 900),
        ((0.96, 0.5, 1.0), "improve", 1, 900),
        ((0.94,), "improve", 0, 900),
        ((0.96, 1.0, 0.95), "keep and shorten", 2, 300),
        ((1.0,), "keep and shorten", 0, 100),
    ],
)
def test_the_least_pattern_decides(
    rates: tuple[float, ...], choice: str, pattern: int, steps: int
) -> None:
    rows = [{"success": rate, "episodes": 50} for rate in rates]
    budget = choose_budget(rows, BudgetConfig(steps=900, short_steps_each=100))
    assert (budget.choice, budget.pattern, budget.steps) == (choice, pattern, steps)
    need = needs_filter(rows, BudgetConfig.weak)
    assert (need.filter_first, need.pattern) == (min(rates) < 0.5, pattern)
    for why in (budget.why, need.why):
        assert f"({pattern}) succeeds in {min(rates):.0%} of 50" in why


def test_a_short_ppo_is_within_the_budget_too() -> None:
    budget = choose_budget([{"success": 1.0, "episodes": 50}], BudgetConfig(steps=60))
    assert budget.steps == 60 and "PPO of 60 environment steps" in budget.why
