"""The page of the study: what its results say, in tables, and the tests registered before it."""

from __future__ import annotations

import statistics
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence

from experiments.study_results import POOLED, Measured, StudyResult
from experiments.study_tests import (
    BASELINE,
    DLR,
    FEWEST,
    TEST_HEADS,
    TEST_NOTE,
    last,
    outcome_cells,
    run_tests,
    unmoved_text,
    where_moved,
)
from generator.run_folder import LEARN

BEFORE = "filter"
"""The last stage before PPO."""
STEPS = 200_000
"""Of the environment in a training, within which PPO should take a rate from 50 to 90%."""
_LINE = 110


BESIDE = (
    "endpoint_variance_rotations",
    "mean_pairwise_distance_rotations",
    "path_length_positions",
    "straightness",
    "spread_within_mode_positions",
    "episode_length",
    "no_ops",
    "mean_squared_jerk",
)
"""Figures that are shown and not tested."""


def page(results: Sequence[StudyResult]) -> str:
    """Return the page, Markdown, of any part of the study that is there."""
    parts = [
        "# Results of the study\n\n" + _introduction(results),
        "## Success\n\n" + _success(results),
        "## Ways kept\n\n" + _diversity(results),
        "## Tests\n\n" + tests_text(results),
        "## Where PPO moved the policy\n\n" + _moved(results),
        "## What else the motions are like\n\n" + _beside(results),
        "## Cost\n\n" + _cost(results),
        "## Made with\n\n" + _provenance(results),
    ]
    return "\n\n".join(parts) + "\n"


def _introduction(results: Sequence[StudyResult]) -> str:
    tasks = {r.task for r in results}
    trainings = [r for r in results if r.seed != POOLED]
    seeds = sorted({r.seed for r in trainings}, key=str)
    text = (
        f"{len(trainings)} trainings of {len(tasks)} tasks (seeds {', '.join(map(str, seeds))}), "
        "as [study.md](study.md) has registered them; `python -m experiments.study --report` makes "
        "this page from `results/study`. Rates have 95% Wilson intervals; success is on held-out "
        "starts, all at one absolute action noise. Entropies are relative to the demonstrations': "
        "1 where all of their modes are equally frequent, 0 where one is left."
    )
    return wrap(text)


def _success(results: Sequence[StudyResult]) -> str:
    """Return success by task and recipe: the least pattern of the worst seed, and the mean."""
    recipes = _recipes(results)
    lines = [row(["task", *_heads(recipes)]), rule(1 + 2 * len(recipes))]
    for task in _tasks(results):
        columns = _columns(recipes)
        rates = [_rates(_runs(results, task, recipe), stage) for recipe, stage in columns]
        lines.append(row([f"`{task}`", *rates]))
    lines += ["", _solved(results, recipes)]
    return "\n".join(lines)


def _heads(recipes: Sequence[str]) -> list[str]:
    return [f"{r}: learn" if s == LEARN else f"{r}: end" for r, s in _columns(recipes)]


def _rates(runs: Sequence[StudyResult], stage: str) -> str:
    """Return the mean over seeds and patterns and the least single rate, with its interval."""
    rates = [
        rate for run in runs for rate in run.stages[LEARN if stage == LEARN else run.final].success
    ]
    if not rates:
        return "-"
    least = min(rates, key=lambda rate: rate.rate)
    low, high = least.interval
    mean = statistics.fmean(rate.rate for rate in rates)
    seeds = f"{len(runs)} seeds" if len(runs) > 1 else "1 seed"
    return f"{mean:.0%}; least {least.rate:.0%} ({low:.0%} to {high:.0%}), {seeds}"


def _solved(results: Sequence[StudyResult], recipes: Sequence[str]) -> str:
    """Return on how many tasks every pattern of every seed reaches 90% at the end."""
    lines = []
    for recipe in recipes:
        done = [
            min(rate.rate for run in runs for rate in run.stages[run.final].success)
            for task in _tasks(results)
            if (runs := _runs(results, task, recipe))
        ]
        lines.append(
            f"- `{recipe}`: every pattern of every seed at 90% or more on "
            f"{sum(rate >= 0.9 for rate in done)} of {len(done)} tasks; the worst task's least "
            f"is {min(done):.0%}."
        )
    return "\n".join([*lines, *_raised(results, recipes)])


def _raised(results: Sequence[StudyResult], recipes: Sequence[str]) -> list[str]:
    """Return how often PPO takes what is at 50 to 80% before it to 90%, by recipe.

    A rate is a pattern's of one task and seed; a recipe without patterns has one, and one that
    ends before PPO has none.
    """
    lines = []
    for recipe in recipes:
        found, sooner = [], 0
        for run in (r for r in results if r.recipe == recipe and r.seed != POOLED):
            if BEFORE not in run.stages or run.final == BEFORE:
                continue
            before, after = run.stages[BEFORE], run.stages[run.final]
            pairs = zip(before.success, after.success, strict=True)
            ends = [end.rate for start, end in pairs if 0.5 <= start.rate <= 0.8]
            found += ends
            if _steps(after.report) <= STEPS:
                sooner += sum(rate >= 0.9 for rate in ends)
        if found:
            lines.append(
                f"- `{recipe}`: of {len(found)} patterns of a task and seed at 50 to 80% before "
                f"PPO {sum(rate >= 0.9 for rate in found)} end at 90% or more, {sooner} of them by "
                f"PPO of at most {STEPS:,} environment steps, evaluations counted."
            )
    return lines


def _diversity(results: Sequence[StudyResult]) -> str:
    """Return mode entropy after `learn` and at the end, by task and recipe."""
    recipes = [*_recipes(results)]
    pooled = [r for r in results if r.seed == POOLED]
    heads = _heads(recipes)
    lines = [
        "Mode entropy, the mean over seeds; in brackets episodes.",
        "",
        row(["task", *heads, *([f"{BASELINE}, seeds pooled"] if pooled else [])]),
        rule(1 + len(heads) + bool(pooled)),
    ]
    for task in _tasks(results):
        cells = [f"`{task}`"]
        for recipe, stage in _columns(recipes):
            cells.append(_entropy(_runs(results, task, recipe), stage))
        if pooled:
            cells.append(_entropy([r for r in pooled if r.task == task], ""))
        lines.append(row(cells))
    return "\n".join(lines)


def _entropy(runs: Sequence[StudyResult], stage: str) -> str:
    found = [run.stages[LEARN if stage == LEARN else run.final].measured for run in runs]
    known = [m for m in found if m and m.episodes >= FEWEST and "mode_entropy" in m.figures]
    if not known:
        return "-"
    mean = statistics.fmean(m.figures["mode_entropy"] for m in known)
    return f"{mean:.2f} ({sum(m.episodes for m in known)})"


def tests_text(results: Sequence[StudyResult]) -> str:
    """Return the registered tests as a table, Markdown."""
    found = run_tests(results)
    if not found:
        return "No task has both recipes yet."
    lines = [row(TEST_HEADS), rule(6), *(row(outcome_cells(test)) for test in found)]
    return "\n".join([*lines, "", wrap(TEST_NOTE.replace("*", "\\*"))])


def _moved(results: Sequence[StudyResult]) -> str:
    """Return how often PPO left a policy as it was, and the tests without such of DLR."""
    paragraphs = unmoved_text(results) or ["No training has told how many updates it made."]
    return "\n\n".join([*map(wrap, paragraphs), tests_text(where_moved(results))])


def _beside(results: Sequence[StudyResult]) -> str:
    """Return the medians over tasks of what is not tested."""
    recipes = _recipes(results)
    lines = [
        "Medians over trainings.",
        "",
        row(["figure", "demonstrations", *recipes]),
        rule(2 + len(recipes)),
    ]
    for key in BESIDE:
        sources: list[list[Measured]] = [[r.demonstrations for r in results]]
        for recipe in recipes:
            own = (last(r) for r in results if r.recipe == recipe and r.seed != POOLED)
            sources.append([m for m in own if m and m.episodes >= FEWEST])
        cells = [_median(m.figures[key] for m in source if key in m.figures) for source in sources]
        lines.append(row([f"`{key}`", *cells]))
    return "\n".join(lines)


def _cost(results: Sequence[StudyResult]) -> str:
    """Return environment steps and minutes of each recipe, the median and the most."""
    lines = [
        "Environment steps of all stages: filtered cloning, PPO, and their evaluations.",
        "",
        row(["recipe", "trainings", "steps of all stages", "minutes on one core"]),
        rule(4),
    ]
    for recipe in _recipes(results):
        runs = [r for r in results if r.recipe == recipe and r.seed != POOLED]
        steps = [environment_steps(run) for run in runs]
        minutes = [run.seconds / 60 for run in runs]
        lines.append(
            row([
                f"`{recipe}`", str(len(runs)),
                f"{statistics.median(steps):,.0f} (most {max(steps):,.0f})",
                f"{statistics.median(minutes):.1f} (most {max(minutes):.1f})",
            ])
        )  # fmt: skip
    return "\n".join(lines)


def environment_steps(result: StudyResult) -> float:
    """Return the environment steps of all stages, evaluations counted."""
    return sum(_steps(stage.report) for stage in result.stages.values())


def _steps(report: object) -> float:
    """Return the environment steps that a stage says it took."""
    steps = report.get("environment_steps", 0) if isinstance(report, dict) else 0
    return float(steps["total"] if isinstance(steps, dict) else steps)


def _provenance(results: Sequence[StudyResult]) -> str:
    """Return machines, packs, versions and commits."""
    facts: dict[str, set[str]] = defaultdict(set)
    for result in results:
        for name in ("assets", "commit", "machine", "versions"):
            if name in result.provenance:
                facts[name].add(str(result.provenance[name]))
    return "\n".join(f"- {name}: {'; '.join(sorted(texts))}" for name, texts in facts.items())


def _columns(recipes: Sequence[str]) -> list[tuple[str, str]]:
    return [(recipe, stage) for recipe in recipes for stage in (LEARN, "")]


def _recipes(results: Sequence[StudyResult]) -> list[str]:
    """Return the recipes, the two that are compared first."""
    names = {r.recipe for r in results}
    first = [name for name in (BASELINE, DLR) if name in names]
    return first + sorted(names - set(first))


def _tasks(results: Sequence[StudyResult]) -> list[str]:
    return sorted({r.task for r in results})


def _runs(results: Sequence[StudyResult], task: str, recipe: str) -> list[StudyResult]:
    return [r for r in results if r.task == task and r.recipe == recipe and r.seed != POOLED]


def _median(values: Iterable[float]) -> str:
    known = list(values)
    return f"{statistics.median(known):.3g}" if known else "-"


def row(cells: Sequence[str]) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def rule(columns: int) -> str:
    """Return the line below a table's head."""
    return "|" + "---|" * columns


def wrap(text: str) -> str:
    """Return a paragraph in lines of a page's width."""
    return "\n".join(textwrap.wrap(text, _LINE, break_long_words=False, break_on_hyphens=False))
