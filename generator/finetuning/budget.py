"""How much comes after `learn`: the least pattern's held-out success decides, and says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from generator.config import BudgetConfig

Choice = Literal["improve", "keep and shorten"]
SHORT: Final = "keep and shorten"
"""Choice for a policy that succeeds already: it stays as it is and has a short PPO."""


@dataclass(frozen=True)
class Budget:
    """What was chosen, and why."""

    choice: Choice
    """`improve`: PPO up to the target success. `keep and shorten`: a short PPO of a policy that
    succeeds already."""
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


@dataclass(frozen=True)
class Need:
    """Whether a clone is too weak for PPO, so that filtered cloning comes first, and why."""

    filter_first: bool
    """Whether it is."""
    pattern: int
    """The least pattern, which decides; 0 without patterns."""
    least: float
    """Its held-out success."""
    why: str
    """What was decided, in a sentence."""

    def report(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def needs_filter(held_out: Sequence[Mapping[str, float]], weak: float) -> Need:
    """Decide by held-out success, and by nothing that PPO reads.

    Args:
        held_out: a row per pattern, with `success` and `episodes`.
        weak: success below which filtered cloning comes first.
    """
    pattern, least, seen = _least(held_out)
    if least < weak:
        return Need(True, pattern, least, f"{seen}, below {weak:.0%}: filtered cloning before PPO")
    return Need(False, pattern, least, f"{seen}, not below {weak:.0%}: no filtered cloning")


def choose_budget(held_out: Sequence[Mapping[str, float]], config: BudgetConfig) -> Budget:
    """Choose by held-out success of the policy that PPO starts from.

    Args:
        held_out: a row per pattern, with `success` and `episodes`.
        config: thresholds and steps.
    """
    pattern, least, seen = _least(held_out)
    if least < config.strong:
        why = f"{seen}, below {config.strong:.0%}: PPO of at most {config.steps} environment steps"
        return Budget("improve", pattern, least, config.steps, why)
    steps = min(config.short_steps_each * len(held_out), config.steps)
    why = f"{seen}: PPO of {steps} environment steps keeps success and shortens episodes"
    return Budget(SHORT, pattern, least, steps, why)


def _least(held_out: Sequence[Mapping[str, float]]) -> tuple[int, float, str]:
    """Return the least pattern, its success, and both in words."""
    rates = [row["success"] for row in held_out]
    least = min(rates)
    pattern = rates.index(least)
    episodes = held_out[pattern]["episodes"]
    seen = f"the least pattern ({pattern}) succeeds in {least:.0%} of {episodes:.0f}"
    return pattern, least, f"{seen} held-out episodes"
