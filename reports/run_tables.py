"""The numbers of a run's report: as JSON, and as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from analysis.diversity import (
    SUPPLEMENT,
    TABLE_1,
    Contrast,
    distance_matrix,
    metric_key,
)
from analysis.statistics import Estimate
from reports.run_outcomes import (
    Analysis,
    Count,
    RecipeOutcome,
    TaskOutcome,
)


def task_json(analysis: Analysis) -> dict[str, Any]:
    """Return every number of one task."""
    result = analysis.result
    return {
        "task": result.task,
        "language": result.language,
        "recipes": {recipe.name: _recipe_json(recipe) for recipe in result.everyone},
        "diversity": {
            "note": analysis.note,
            "trajectories": len(analysis.matched[0]) if analysis.matched else 0,
            "starts": len({t.start for t in analysis.matched[0]}) if analysis.matched else 0,
            "pattern_distances": pattern_distances(analysis),
            "metrics": {key: asdict(contrast) for key, contrast in analysis.contrasts.items()},
        },
        "further": {
            name: {key: asdict(contrast) for key, contrast in contrasts.items()}
            for name, contrasts in analysis.further.items()
        },
        "sources": {name: asdict(found) for name, found in analysis.profiles.items()},
        "provenance": dict(result.provenance),
    }


def _recipe_json(recipe: RecipeOutcome) -> dict[str, Any]:
    counts = {
        stage: {str(pattern): count.as_json() for pattern, count in per_pattern.items()}
        for stage, per_pattern in (
            ("learned", recipe.learned),
            ("reinforced", recipe.reinforced),
            ("recognised", recipe.recognised),
        )
    }
    curves = [{"pattern": c.pattern, "steps": c.steps, "success": c.success} for c in recipe.curves]
    return {
        **counts,
        "discovery_nmi": recipe.discovery_nmi,
        "curves": curves,
        "training": dict(recipe.training),
        "theorem": list(recipe.theorem),
        "collection": dict(recipe.collection),
    }


def plain(value: object) -> Any:
    """Return a JSON value for NumPy's scalars and arrays, and a string for paths."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"the report cannot store {type(value).__name__} as JSON: {value!r}")


def pattern_distances(analysis: Analysis) -> dict[str, float | None] | None:
    """Return the candidate's mean distance [m] of positions within patterns and between them."""
    if analysis.matched is None:
        return None
    distances = distance_matrix(analysis.features[1])
    patterns = np.array([t.pattern for t in analysis.matched[1]])
    same = patterns[:, None] == patterns
    pairs = ~np.eye(len(patterns), dtype=bool)
    return {
        name: float(distances[chosen].mean()) if chosen.any() else None
        for name, chosen in (("within", same & pairs), ("between", ~same))
    }


def number(value: float) -> str:
    """Return three significant digits; of a number below a million all before the point."""
    text = f"{value:#.3g}".rstrip(".")
    return f"{float(text):.0f}" if 1000 <= abs(float(text)) < 1e6 else text


def estimate(estimate: Estimate | None, suffix: str = "") -> tuple[str, str]:
    """Return the value and, where there is one, its interval, as text."""
    if estimate is None:
        return "–", ""
    value = number(estimate.value) + suffix
    if estimate.low is None or estimate.high is None:
        return value, ""
    return value, f"({number(estimate.low)} to {number(estimate.high)})"


def rate(count: Count | None) -> tuple[str, str]:
    """Return "98% (49/50)" and the interval, as text; a dash without trials."""
    if count is None or not count.n:
        return "–", ""
    low, high = count.interval
    return f"{count.rate:.0%} ({count.successes}/{count.n})", f"({low:.0%} to {high:.0%})"


def policy_name(recipe: RecipeOutcome, pattern: int) -> str:
    """Return the recipe's name with the pattern, where it has one."""
    return recipe.name if pattern < 0 else f"{recipe.name}, pattern {pattern}"


def patterns(recipe: RecipeOutcome) -> list[int]:
    """Return the patterns that any success count of the recipe names, in order."""
    return sorted({*recipe.learned, *recipe.reinforced, *recipe.recognised})


def lowest(counts: Mapping[int, Count]) -> Count | None:
    """Return the count with the lowest rate among those of any trials."""
    tried = (count for count in counts.values() if count.n)
    return min(tried, key=lambda count: count.rate, default=None)


def success_rows(result: TaskOutcome) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return, per recipe and pattern, its name and three (value, interval) cells."""
    return [
        (
            policy_name(recipe, pattern),
            [
                rate(counts.get(pattern))
                for counts in (recipe.learned, recipe.reinforced, recipe.recognised)
            ],
        )
        for recipe in result.everyone
        for pattern in patterns(recipe)
    ]


def training_rows(result: TaskOutcome) -> list[tuple[str, list[str]]]:
    """Return, per recipe, its name, the budget and why, environment steps, and why it ended."""
    rows = []
    for recipe in result.everyone:
        if recipe.training:
            steps = recipe.training["environment_steps"]
            counted = f"{steps['total']:,} ({steps['evaluation']:,} of evaluations)"
            cells = [recipe.training["budget"]["why"], counted, recipe.training["stopped"]]
            rows.append((recipe.name, cells))
    return rows


def theorem_rows(result: TaskOutcome) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return, per pattern, its name, E with its standard error, delta_0, leakage, and the bound."""
    rows = []
    for recipe in result.everyone:
        for z, row in enumerate(recipe.theorem):
            bound = (f"{row['bound']:.2f}", "vacuous: says nothing" if row["vacuous"] else "")
            cells = [
                (f"{row['trajectory_kl']:.2f}", f"± {row['trajectory_kl_error']:.2f}"),
                (f"{row['delta_0']:.0%}", ""),
                (f"{row['leakage']:.0%}", ""),
                bound,
            ]
            rows.append((policy_name(recipe, z), cells))
    return rows


def diversity_rows(
    analysis: Analysis, space: str
) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    """Return, per metric that a space has, label, unit, meaning and three (value, interval) cells.

    Table 1's metrics come first.
    """
    rows = []
    for metric in TABLE_1 + SUPPLEMENT:
        contrast = analysis.contrasts.get(metric_key(metric.key, space))
        if contrast is not None:
            cells = [estimate(contrast.baseline), estimate(contrast.candidate), ratio(contrast)]
            rows.append((metric.label, metric.units[space], metric.meaning, cells))
    return rows


def further_rows(
    analysis: Analysis, space: str
) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    """Return, per metric of a space, label, unit, meaning and each further recipe's ratio cell."""
    return [
        (
            metric.label,
            metric.units[space],
            metric.meaning,
            [ratio(found.get(key)) for found in analysis.further.values()],
        )
        for metric in TABLE_1 + SUPPLEMENT
        if any((key := metric_key(metric.key, space)) in f for f in analysis.further.values())
    ]


def ratio(contrast: Contrast | None) -> tuple[str, str]:
    """Return the ratio of the candidate to the baseline and its interval, as text."""
    return estimate(contrast.ratio if contrast else None, "×")


def success_table(result: TaskOutcome) -> Table:
    """Return the terminal's table of held-out success."""
    table = Table(title="Held-out success, 95% Wilson intervals", title_justify="left")
    table.add_column("")
    for stage in ("after learn", "after reinforce", "recognised as z by its own encoder"):
        table.add_column(stage, justify="right")
    for name, cells in success_rows(result):
        table.add_row(Text(name), *("\n".join(cell).strip() for cell in cells))
    return table


def diversity_table(analysis: Analysis, space: str) -> Table:
    """Return the terminal's table of both recipes in one space."""
    title = f"Diversity of {space}, from the same starts, 95% bootstrap intervals"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for recipe in analysis.result.recipes:
        table.add_column(Text(recipe.name), justify="right")
    table.add_column("ratio", justify="right")
    for i, (label, unit, _, cells) in enumerate(diversity_rows(analysis, space)):
        name = f"{label} [{unit}]" if unit else label
        end = i == len(TABLE_1) - 1
        table.add_row(Text(name), *("\n".join(c).strip() for c in cells), end_section=end)
    return table


def further_table(analysis: Analysis, space: str) -> Table:
    """Return the terminal's table of further recipes in one space, as ratios to the baseline."""
    title = f"Diversity of {space}, times {analysis.result.baseline.name}'s, from the same starts"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in analysis.further:
        table.add_column(Text(name), justify="right")
    for label, _, _, cells in further_rows(analysis, space):
        table.add_row(Text(label), *("\n".join(cell).strip() for cell in cells))
    return table
