"""Starts that come again, in several seeds or in one, and what may be said of success then.

Seed s, the i-th, makes episode e of a task episode i E + e of the whole, of E episodes a seed. An
official init state, or a recorded start, is the same start in every seed, so that outcomes of
one start are not independent: a policy without randomness may repeat itself to the step where a
seed draws nothing, as in scenes without fixtures. So it is within one seed, too, where a task has
fewer official init states than episodes. What varies is counted by starts.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.statistics import sign_flip_test
from common.intervals import wilson_interval
from eval_harness.statistics import (
    Difference,
    McNemar,
    clustered_bootstrap,
    clustered_interval,
    mcnemar_test,
    paired_bootstrap,
)

if TYPE_CHECKING:
    from eval_harness.results import EpisodeResult


def episodes_a_seed(config: Mapping[str, Any]) -> int | None:
    """Return how many episodes of each task a seed has; None of an evaluation of one seed."""
    seeds = config["seed"]
    return config["plan"]["episodes"] // len(seeds) if isinstance(seeds, list) else None


def group_starts(episodes: Sequence[EpisodeResult], each: int | None) -> list[list[int]]:
    """Return which episodes begin at one start, as their places, start by start.

    A start is a task's official init state, or another by its digest, or, in results that have
    none yet, by its place in the plan of a seed.

    Args:
        episodes: the episodes.
        each: of `episodes_a_seed`.
    """
    starts: dict[tuple[str, int | str], list[int]] = {}
    for place, result in enumerate(episodes):
        number = result.episode if each is None else result.episode % each
        start = result.init_index if result.init_index >= 0 else result.start or -1 - number
        starts.setdefault((result.task, start), []).append(place)
    return list(starts.values())


def rate_interval(episodes: Sequence[EpisodeResult], each: int | None) -> tuple[float, float]:
    """Return the 95% interval of the success of episodes that all ended without an error.

    Wilson's, or where starts come again `statistics.clustered_interval`.

    Args:
        episodes: the episodes; of none the interval is (0, 1).
        each: of `episodes_a_seed`.
    """
    starts, success = group_starts(episodes, each), np.array([r.success for r in episodes], float)
    if len(starts) == len(episodes):
        return wilson_interval(int(success.sum()), len(episodes))
    return clustered_interval([success[places] for places in starts])


def compare_pairs(
    pairs: Sequence[tuple[EpisodeResult, EpisodeResult]],
    each: int | None,
    confidence: float = 0.95,
    resample_tasks: bool = False,
) -> tuple[Difference, McNemar]:
    """Return the difference in success over pairs with its interval, and a test of it.

    Where starts come again they are what is drawn, and p is of a sign-flip test of starts.

    Args:
        pairs: (baseline's, evaluated's) episodes of the same start, one or more.
        each: of `episodes_a_seed`.
        confidence: coverage of the interval.
        resample_tasks: whether the interval says what other tasks would give, too.
    """
    tasks = np.array([x.task for x, _ in pairs])
    a, b = np.array([(x.success, y.success) for x, y in pairs], bool).T
    test, names = mcnemar_test(a, b), dict.fromkeys(tasks.tolist())
    starts = group_starts([x for x, _ in pairs], each)
    if len(starts) == len(pairs):
        groups = [tasks == name for name in names]
        first, second = ([side[group] for group in groups] for side in (a, b))
        interval = paired_bootstrap(first, second, confidence, resample_tasks=resample_tasks)
        return interval, test
    change = b.astype(float) - a
    of_tasks = [[change[s] for s in starts if tasks[s[0]] == name] for name in names]
    difference = clustered_bootstrap(of_tasks, confidence, resample_tasks=resample_tasks)
    sums = [float(change[places].sum()) for places in starts if change[places].sum()]
    return difference, replace(test, p_value=sign_flip_test(sums or [0.0]))


def count_starts(config: Mapping[str, Any], episodes: Sequence[EpisodeResult]) -> int | None:
    """Return at how many starts the episodes of one seed begin; None where none comes again."""
    starts = group_starts(episodes, None)
    once = isinstance(config["seed"], list) or len(starts) == len(episodes)
    return None if once else len(starts)


def starts_text(starts: int) -> str:
    """Return what starts that come again mean for intervals, in sentences."""
    return (
        f"Episodes begin at {starts} starts, some of which come again. Intervals count starts, not "
        "rollouts, as far as a start's outcomes are alike."
    )


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
    starts = group_starts(ended, each)
    repeated = sum(len({(ended[i].success, ended[i].steps) for i in one}) == 1 for one in starts)
    of_seeds = [
        [r.success for r in ended if r.episode // each == i] for i in range(len(config["seed"]))
    ]
    rates = [float(np.mean(one)) for one in of_seeds]
    return {
        "seeds": config["seed"],
        "rates": rates,
        "mean": statistics.fmean(rates),
        "deviation": statistics.stdev(rates),
        "starts": len(starts),
        "repeated": repeated,
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
