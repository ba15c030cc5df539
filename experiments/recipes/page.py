"""The page of the recipes: tables and figures of what the results' files say, and nothing else."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.files import write_text
from common.intervals import wilson_interval
from experiments.recipes import figures
from experiments.recipes.quality import PEOPLE, SCRIPTED, Quality, TaskQuality
from experiments.recipes.variants import VARIANTS
from experiments.study_page import environment_steps, row, rule, wrap
from experiments.study_results import POOLED, Measured, StageResult, StudyResult
from experiments.study_tests import FEWEST
from generator.run_folder import LEARN

_LABELS = {variant.name: variant.label for variant in VARIANTS}
_WANTED = 0.9
"""Success that diffusion RL is to reach."""
_OURS, _GAUSSIAN = "diffusion_rl", "gaussian_rl"


def write_page(
    path: Path, results: Sequence[StudyResult], qualities: Mapping[str, TaskQuality]
) -> None:
    """Write the page, Markdown, and its figures into a folder of its name beside it.

    Raises:
        OutputError: they cannot be written.
    """
    pictures = path.with_suffix("")
    results = [r for r in results if r.seed != POOLED]
    tasks = sorted({r.task for r in results})
    parts = [_introduction(results)]
    parts += [f"## `{task}`\n\n" + _task(results, qualities.get(task), task) for task in tasks]
    if figures.over_beta(results, pictures / "beta.png"):
        parts.append(_section("Mutual information as a reward", pictures / "beta.png", _BETA))
    if figures.figure_6(qualities, pictures / "figure_6.png"):
        told = "; ".join(
            f"task {n + 1} is `{task}`, seed {found.seed}"
            for n, (task, found) in enumerate(qualities.items())
        )
        parts.append(_section("Length and jerk", pictures / "figure_6.png", f"{_SIX} {told}."))
    for number, (task, found) in enumerate(qualities.items(), 1):
        drawn = pictures / f"figure_7_{number}.png"
        if figures.figure_7(found.sources, drawn):
            parts.append(_section(f"Actions over time, `{task}`", drawn, _SEVEN))
    parts.append("## What the second paper claims\n\n" + claims(results, qualities))
    write_text(path, "\n\n".join(parts) + "\n")


_BETA = (
    "Appendix E of the first paper: the policy after PPO on success and beta times mutual "
    "information (the last one, whatever its success), beside DLR, whose beta is 0. Success is the "
    "mean over patterns and seeds; mode entropy is relative to the demonstrations' own."
)
_SIX = (
    "As Figure 6 of the second paper has them: means over successful episodes, with their standard "
    "deviation. On the right what policies do when nothing is added to their motion, beside the "
    "same demonstrations."
)
_SEVEN = (
    "As Figure 7 of the second paper has it: the y action's mean over successful episodes and its "
    "standard deviation, at moments of equal progress. Sources that show several ways spread for "
    "that alone."
)


def _section(title: str, picture: Path, words: str) -> str:
    return f"## {title}\n\n![{title}]({picture.parent.name}/{picture.name})\n\n{wrap(words)}"


def _introduction(results: Sequence[StudyResult]) -> str:
    commits = sorted({str(r.provenance.get("commit", "unknown")) for r in results})
    machines = sorted({str(r.provenance.get("machine", "unknown")) for r in results})
    packs = sorted({str(r.provenance.get("assets", "unknown")) for r in results})
    text = (
        f"{len(results)} trainings; `python -m experiments.recipes --report` makes this page of "
        "`results/recipes` and `results/quality`. Success is held out, with 95% Wilson intervals, "
        "over all patterns and seeds of a variant; all act, in training, evaluation and "
        "collection, with one absolute noise of the motion. Environment steps are of all stages, "
        "evaluations counted; minutes are of one core, collection included. What the episodes are "
        "like is measured on successes, the median over seeds; a dash: too few. "
        f"Assets {', '.join(packs)}; {', '.join(machines)}; commit {', '.join(commits)}."
    )
    return "# Recipes of the two papers\n\n" + wrap(text)


_HEAD = (
    "recipe", "seeds", "success after learn", "at the end", "least pattern", "steps", "minutes",
    "mode entropy", "pairwise distance, m", "no-ops", "length", "jerk, m²/s⁶", "action variance",
)  # fmt: skip


def _task(results: Sequence[StudyResult], found: TaskQuality | None, task: str) -> str:
    mine = [r for r in results if r.task == task]
    lines = [row(_HEAD), rule(len(_HEAD))]
    lines.append(row(["demonstrations", *["-"] * 6, *_motion([mine[0].demonstrations])]))
    names = [v.name for v in VARIANTS if any(r.recipe == v.name for r in mine)]
    for name in names:
        runs = [r for r in mine if r.recipe == name]
        lines.append(row([_LABELS[name], str(len(runs)), *_outcome(runs), *_motion(_ends(runs))]))
    if found:
        lines += ["", _noise(found)]
    return "\n".join(lines)


def _outcome(runs: Sequence[StudyResult]) -> list[str]:
    """Return success after both stages, the least pattern's, steps and minutes."""
    ends = [r.stages[r.final] for r in runs]
    steps = [environment_steps(r) for r in runs]
    return [
        pooled([r.stages[LEARN] for r in runs]),
        pooled(ends),
        f"{min(c.rate for stage in ends for c in stage.success):.0%}",
        f"{statistics.median(steps):,.0f}",
        f"{statistics.median(r.seconds for r in runs) / 60:.1f}",
    ]


def pooled(stages: Sequence[StageResult]) -> str:
    """Return the success of all patterns and seeds together, with its interval."""
    counts = [count for stage in stages for count in stage.success]
    successes, n = sum(c.successes for c in counts), sum(c.n for c in counts)
    low, high = wilson_interval(successes, n)
    return f"{successes / n:.0%} ({low:.0%} to {high:.0%}) of {n}"


def _ends(runs: Sequence[StudyResult]) -> list[Measured]:
    found = [r.stages[r.final].measured for r in runs]
    return [m for m in found if m is not None and m.episodes >= FEWEST]


def _motion(measured: Sequence[Measured]) -> list[str]:
    """Return medians of what the episodes are like."""
    keys = (
        "mode_entropy", "mean_pairwise_distance_positions", "no_ops", "episode_length",
        "mean_squared_jerk", "action_variance_translation",
    )  # fmt: skip
    cells = []
    for key in keys:
        values = [m.figures[key] for m in measured if key in m.figures]
        cells.append(f"{statistics.median(values):.3g}" if values else "-")
    return cells


def _noise(found: TaskQuality) -> str:
    """Return what the motion's noise does to a seed's episodes, a row a source."""
    head = (
        f"seed {found.seed}", "jerk, m²/s⁶", "without noise", "length", "without noise",
        "no-ops in episodes", "without noise",
    )  # fmt: skip
    lines = [row(head), rule(len(head))]
    for name, noisy in found.sources.items():
        quiet = found.without_noise.get(name)
        still = _count(noisy.no_ops), _count(quiet.no_ops) if quiet else "-"
        jerks = _mean(noisy.jerks), _mean(quiet.jerks) if quiet else "-"
        lengths = _mean(noisy.lengths), _mean(quiet.lengths) if quiet else "-"
        lines.append(row([_LABELS.get(name, name), *jerks, *lengths, *still]))
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.3g}"


def _count(values: Sequence[int]) -> str:
    return f"{sum(values)} in {len(values)}"


def claims(results: Sequence[StudyResult], qualities: Mapping[str, TaskQuality]) -> str:
    """Return which of the second paper's claims hold here, each with its figures."""
    lines = []
    for task in sorted({r.task for r in results}):
        runs = [r for r in results if r.task == task and r.recipe == _OURS]
        if runs:
            ends = [r.stages[r.final] for r in runs]
            rate = statistics.fmean(c.rate for stage in ends for c in stage.success)
            told = f"success of {_WANTED:.0%} or more: {_yes(rate >= _WANTED)} ({pooled(ends)})"
            lines.append(f"- `{task}`: {told}.")
        if found := qualities.get(task):
            parts = (("", found.sources), (" without noise", found.quiet))
            lines += [f"- `{task}`: {c}." for what, part in parts for c in _smoothness(part, what)]
    return "\n".join(lines) if lines else "Diffusion RL is not trained yet."


def _smoothness(found: Mapping[str, Quality], what: str) -> list[str]:
    """Return what the second paper claims of one task's episodes, each with its figures."""
    if _OURS not in found:
        return []
    ours, told = found[_OURS], []
    jerk = statistics.fmean(ours.jerks)
    for other in (_GAUSSIAN, SCRIPTED, PEOPLE):
        if other in found:
            theirs = statistics.fmean(found[other].jerks)
            told.append(
                f"less jerk{what} than {_LABELS.get(other, other)}: {_yes(jerk < theirs)} "
                f"({jerk:.3g} against {theirs:.3g})"
            )
    count = f"{_count(ours.no_ops)} episodes"
    return [*told, f"no no-op{what}: {_yes(not sum(ours.no_ops))} ({count})"]


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
