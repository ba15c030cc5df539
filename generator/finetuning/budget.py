"""How much comes after `learn`: the least pattern's held-out success decides, and says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from generator.config import BudgetConfig

Choice = Literal["filter first", "improve", "keep and shorten"]


@dataclass(frozen=True)
class Budget:
    """What was chosen, and why."""

    choice: Choice
    """`filter first`: the clone is too weak for PPO. `improve`: PPO up to the target success.
    `keep and shorten`: a short PPO of a policy that succeeds already."""
    pattern: int
    """The least pattern, which decides; 0 without patterns."""
    least: float
    """Its held-out success."""
    steps: int
    """Environment steps of PPO at most, evaluations included."""
    why: str
    """The choice in a sentence."""

    def report(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def choose_budget(held_out: Sequence[Mapping[str, float]], config: BudgetConfig) -> Budget:
    """Choose by held-out success.

    Args:
        held_out: a row per pattern, with `success` and `episodes`.
        config: thresholds and steps.
    """
    rates = [row["success"] for row in held_out]
    least = min(rates)
    pattern = rates.index(least)
    seen = (
        f"the least pattern ({pattern}) succeeds in {least:.0%} of "
        f"{held_out[pattern]['episodes']:.0f} held-out episodes"
    )
    if least < config.weak:
        why = f"{seen}, below {config.weak:.0%}: filtered cloning before PPO"
        return Budget(
            "filter first", pattern, least, config.steps, f"{why} of {config.steps} steps"
        )
    if least < config.strong:
        why = f"{seen}, below {config.strong:.0%}: PPO of at most {config.steps} environment steps"
        return Budget("improve", pattern, least, config.steps, why)
    why = (
        f"{seen}: PPO of {config.short_steps} environment steps keeps success and shortens episodes"
    )
    return Budget("keep and shorten", pattern, least, config.short_steps, why)
