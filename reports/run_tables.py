"""The numbers of a run's report: as JSON, and as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.diversity import SUPPLEMENT, TABLE_1, Contrast, Estimate, distance_matrix
from reports.run_outcomes import (
    Analysis,
    Count,
    RecipeOutcome,
    TaskOutcome,
)


def to_json(analyses: Sequence[Analysis]) -> dict[str, Any]:
    """Return every number of the report."""
    return {"format": 1, "tasks": [task_json(analysis) for analysis in analyses]}


def print_tables(analyses: Sequence[Analysis], console: Console) -> None:
    """Print, per task, Table 1's metrics and success per pattern."""
    for analysis in analyses:
        result = analysis.result
        console.print(Text(f"\n{result.language} ({result.task})", style="bold"))
        console.print(_success_table(result))
        console.print(Text(analysis.note))
        if analysis.contrasts:
            console.print(_diversity_table(analysis))


def task_json(analysis: Analysis) -> dict[str, Any]:
    """Return every number of one task."""
    result = analysis.result
    return {
        "task": result.task,
        "language": result.language,
        "recipes": {recipe.name: _recipe_json(recipe) for recipe in result.recipes},
        "diversity": {
            "note": analysis.note,
            "trajectories": len(analysis.matched[0]) if analysis.matched else 0,
            "starts": len({t.start for t in analysis.matched[0]}) if analysis.matched else 0,
            "pattern_distances": pattern_distances(analysis),
            "metrics": {key: asdict(contrast) for key, contrast in analysis.contrasts.items()},
        },
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
    """Return the candidate's mean distance within patterns and between them."""
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
    """Return three significant digits, of a large number all before the point."""
    text = f"{value:#.3g}".rstrip(".")
    return f"{float(text):.0f}" if "e+" in text else text


def estimate(estimate: Estimate | None, suffix: str = "") -> tuple[str, str]:
    """Return the value and, where there is one, its interval, as text."""
    if estimate is None:
        return "–", ""
    value = number(estimate.value) + suffix
    if estimate.low is None or estimate.high is None:
        return value, ""
    return value, f"({number(estimate.low)} to {number(estimate.high)})"


def rate(count: Count | None) -> tuple[str, str]:
    """Return "98% (49/50)" and the interval, as text."""
    if count is None:
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
    """Return the count with the lowest rate."""
    return min(counts.values(), key=lambda count: count.rate, default=None)


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
        for recipe in result.recipes
        for pattern in patterns(recipe)
    ]


def diversity_rows(analysis: Analysis) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    """Return, per metric, label, unit, meaning and three (value, interval) cells."""
    rows = []
    for metric in TABLE_1 + SUPPLEMENT:
        contrast = analysis.contrasts[metric.key]
        cells = [estimate(contrast.baseline), estimate(contrast.candidate)]
        rows.append((metric.label, metric.unit, metric.meaning, [*cells, ratio(contrast)]))
    return rows


def ratio(contrast: Contrast | None) -> tuple[str, str]:
    """Return the ratio of the candidate to the baseline and its interval, as text."""
    return estimate(contrast.ratio if contrast else None, "×")


def _success_table(result: TaskOutcome) -> Table:
    table = Table(title="Held-out success, 95% Wilson intervals", title_justify="left")
    table.add_column("")
    for stage in ("after learn", "after reinforce", "recognised as z"):
        table.add_column(stage, justify="right")
    for name, cells in success_rows(result):
        table.add_row(Text(name), *("\n".join(cell).strip() for cell in cells))
    return table


def _diversity_table(analysis: Analysis) -> Table:
    table = Table(title="Diversity (higher is more), 95% bootstrap intervals", title_justify="left")
    table.add_column("")
    for recipe in analysis.result.recipes:
        table.add_column(Text(recipe.name), justify="right")
    table.add_column("ratio", justify="right")
    for i, (label, unit, _, cells) in enumerate(diversity_rows(analysis)):
        name = f"{label} [{unit}]" if unit else label
        end = i == len(TABLE_1) - 1
        table.add_row(Text(name), *("\n".join(c).strip() for c in cells), end_section=end)
    return table
