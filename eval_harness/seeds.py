"""Several seeds of one evaluation as one result, whose intervals know that starts come again.

Seed s, the i-th, makes episode e of a task episode i E + e of the whole, of E episodes a seed. An
official init state, or its place in the plan, is the same start in every seed, so that outcomes of
one start are not independent: a policy without randomness may repeat itself to the step where a
seed draws nothing, as in scenes without fixtures. What varies is counted by starts.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from eval_harness.results import EpisodeResult


def episodes_a_seed(config: Mapping[str, Any]) -> int | None:
    """Return how many episodes of each task a seed has; None of an evaluation of one seed."""
    seeds = config["seed"]
    return config["plan"]["episodes"] // len(seeds) if isinstance(seeds, list) else None


def by_start(
    values: Sequence[float], episodes: Sequence[tuple[str, int]], each: int
) -> npt.NDArray[np.float64]:
    """Return values, one an episode of the whole, by start. Shape: (starts, seeds).

    Args:
        values: one an episode.
        episodes: task and episode of each; of every start all seeds'.
        each: episodes of a task that a seed has.
    """
    starts: dict[tuple[str, int], list[float]] = {}
    for (task, episode), value in zip(episodes, values, strict=True):
        starts.setdefault((task, episode % each), []).append(value)
    return np.array(list(starts.values()), np.float64)


def summarise_seeds(
    config: Mapping[str, Any], episodes: Sequence[EpisodeResult]
) -> dict[str, Any] | None:
    """Return each seed's rate, mean and standard deviation, and how many starts repeat themselves.

    None of an evaluation of one seed, or an incomplete one.
    """
    each = episodes_a_seed(config)
    ended = [result for result in episodes if result.error is None]
    if each is None or len(ended) != len(config["plan"]["tasks"]) * config["plan"]["episodes"]:
        return None
    keys = [result.key for result in ended]
    success = by_start([result.success for result in ended], keys, each)
    steps = by_start([result.steps for result in ended], keys, each)
    alike = (np.ptp(success, axis=1) == 0) & (np.ptp(steps, axis=1) == 0)
    rates = success.mean(axis=0).tolist()
    return {
        "seeds": config["seed"],
        "rates": rates,
        "mean": statistics.fmean(rates),
        "deviation": statistics.stdev(rates),
        "starts": len(alike),
        "repeated": int(alike.sum()),
    }


def seeds_text(found: Mapping[str, Any]) -> str:
    """Return what `summarise_seeds` found, in sentences."""
    rates = ", ".join(f"{rate:.1%}" for rate in found["rates"])
    names = ", ".join(map(str, found["seeds"]))
    text = (
        f"Seeds {names}: {rates}; mean {found['mean']:.1%}, standard deviation "
        f"{100 * found['deviation']:.1f} points. Intervals count starts, not rollouts, as far as a "
        "start's outcomes are alike."
    )
    if found["repeated"]:
        text += (
            f" At {found['repeated']} of {found['starts']} starts all seeds took the same number "
            "of steps to the same outcome: these may be one rollout, repeated."
        )
    return text
