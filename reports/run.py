"""The report of a run: what both recipes learned, how diverse it is, and where it came from.

Plain arrays go in; tables on the terminal, one self-contained HTML file and one JSON file come out.
The page has no script and no external resource: its pictures are inline SVG that follow light and
dark mode, and its thumbnails are data URIs.
"""

from __future__ import annotations

import base64
import importlib.resources
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.diversity import (
    SUPPLEMENT,
    TABLE_1,
    Contrast,
    DiversityError,
    Estimate,
    Trajectory,
    compare,
    distance_matrix,
    match_initial_states,
    trajectory_features,
)
from common.files import write_text
from common.intervals import wilson_interval
from reports import figures
from reports.figures import Bars, Line, Panel, panel

FloatArray = npt.NDArray[np.float64]
Matched = tuple[list[Trajectory], list[Trajectory]]


@dataclass(frozen=True)
class Count:
    """Successes among trials."""

    successes: int
    n: int

    @property
    def rate(self) -> float:
        """Fraction of successes; 0 without trials."""
        return self.successes / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval of the rate."""
        return wilson_interval(self.successes, self.n)

    def as_json(self) -> dict[str, float]:
        """Return counts, rate and interval."""
        low, high = self.interval
        return {**asdict(self), "rate": self.rate, "low": low, "high": high}


@dataclass(frozen=True)
class LearningCurve:
    """Held-out success while a policy is reinforced."""

    pattern: int | None
    """Pattern that was evaluated; None for all of a recipe's rollouts together."""
    steps: npt.ArrayLike
    """(M,) environment steps taken before each evaluation."""
    success: npt.ArrayLike
    """(M,) fraction of successes, 0..1."""


@dataclass(frozen=True)
class Filmstrip:
    """A few frames of one rollout, in order of time."""

    pattern: int
    frames: Sequence[npt.NDArray[np.uint8]]
    """Upright RGB pictures (H, W, 3), such as the first, the middle and the last."""


@dataclass(frozen=True)
class RecipeResult:
    """What one recipe gave on one task; the pattern of a policy without patterns is -1."""

    name: str
    """Name to show, such as `DLR`."""
    trajectories: Sequence[Trajectory]
    """Collected rollouts; the report takes the successes that both recipes' starts allow."""
    learned: Mapping[int, Count]
    """Held-out success per pattern of the cloned policy."""
    reinforced: Mapping[int, Count]
    """Held-out success per pattern of the final policy."""
    recognised: Mapping[int, Count] = field(default_factory=dict)
    """Rollouts of pattern z that the frozen encoder recognises as z, per pattern."""
    discovery_nmi: float | None = None
    """Normalised mutual information of discovered patterns and the demonstrator's ways."""
    curves: Sequence[LearningCurve] = ()
    collection: Mapping[str, Any] = field(default_factory=dict)
    """Statistics of the collection, JSON values by name."""
    filmstrips: Sequence[Filmstrip] = ()


@dataclass(frozen=True)
class TaskResult:
    """Both recipes on one task."""

    task: str
    """Key of the task, such as `libero_90/NAME`."""
    language: str
    """Instruction of the task."""
    baseline: RecipeResult
    """Standard RL with a single pattern (O2O-RL)."""
    candidate: RecipeResult
    """What is compared with it (DLR)."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Configurations, versions and asset pack, JSON values by name."""

    def __post_init__(self) -> None:
        """Refuse two recipes of one name, which would hide each other."""
        if self.baseline.name == self.candidate.name:
            raise ValueError(f"both recipes are named {self.baseline.name!r}; name them apart")

    @property
    def recipes(self) -> tuple[RecipeResult, RecipeResult]:
        """Baseline and candidate, the order of every table and figure."""
        return self.baseline, self.candidate


@dataclass(frozen=True)
class Analysis:
    """A task's results with the diversity of both recipes on the initial states they share."""

    result: TaskResult
    matched: Matched | None
    """Successes of both recipes from the same initial states; None if they share too few."""
    contrasts: Mapping[str, Contrast]
    """Every diversity metric by its key; empty if they share too few."""
    note: str
    """On what diversity was measured, or why it was not."""

    @cached_property
    def features(self) -> tuple[FloatArray, FloatArray]:
        """Feature vectors (N, F) of the matched trajectories of both recipes."""
        assert self.matched is not None
        return trajectory_features(self.matched[0]), trajectory_features(self.matched[1])


def analyse(result: TaskResult, resamples: int = 2000, seed: int = 0) -> Analysis:
    """Match the recipes' initial states and compute every diversity metric on them.

    Recipes that share too few successes have no diversity to compare; the report then says so and
    shows the rest.
    """
    try:
        matched = match_initial_states(result.baseline.trajectories, result.candidate.trajectories)
    except DiversityError as error:
        return Analysis(result, None, {}, f"Diversity was not measured: {error}.")
    starts = len({t.start for t in matched[0]})
    note = f"{len(matched[0])} successes of each recipe, from the same {starts} initial states."
    return Analysis(result, matched, compare(*matched, resamples=resamples, seed=seed), note)


def write_report(
    results: Sequence[TaskResult],
    folder: Path,
    console: Console | None = None,
    title: str = "Discover, Learn, Reinforce",
) -> tuple[Path, Path]:
    """Print the tables and write `report.html` and `report.json`, each atomically.

    Returns:
        The paths of the two files.

    Raises:
        ValueError: there is no result.
        OutputError: the folder cannot be written to.
    """
    if not results:
        raise ValueError("a report needs the result of one task at least")
    analyses = [analyse(result) for result in results]
    print_tables(analyses, console or Console())
    numbers = json.dumps(
        to_json(analyses), indent=2, allow_nan=False, default=_plain, ensure_ascii=False
    )
    page = to_html(analyses, title)
    html, data = folder / "report.html", folder / "report.json"
    write_text(data, numbers + "\n")
    write_text(html, page)
    return html, data


def to_json(analyses: Sequence[Analysis]) -> dict[str, Any]:
    """Return every number of the report."""
    return {"format": 1, "tasks": [_task_json(analysis) for analysis in analyses]}


def print_tables(analyses: Sequence[Analysis], console: Console) -> None:
    """Print, per task, Table 1's metrics and success per pattern."""
    for analysis in analyses:
        result = analysis.result
        console.print(Text(f"\n{result.language} ({result.task})", style="bold"))
        console.print(_success_table(result))
        console.print(Text(analysis.note))
        if analysis.contrasts:
            console.print(_diversity_table(analysis))


def to_html(analyses: Sequence[Analysis], title: str) -> str:
    """Return the page."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = importlib.resources.files("reports").joinpath("run_template.html")
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        title=title,
        tasks=[_task_view(analysis, f"task{i}") for i, analysis in enumerate(analyses)],
        overview=[_overview(analysis) for analysis in analyses],
    )


# Numbers as text and as JSON


def _task_json(analysis: Analysis) -> dict[str, Any]:
    result = analysis.result
    return {
        "task": result.task,
        "language": result.language,
        "recipes": {recipe.name: _recipe_json(recipe) for recipe in result.recipes},
        "diversity": {
            "note": analysis.note,
            "trajectories": len(analysis.matched[0]) if analysis.matched else 0,
            "starts": len({t.start for t in analysis.matched[0]}) if analysis.matched else 0,
            "pattern_distances": _pattern_distances(analysis),
            "metrics": {key: asdict(contrast) for key, contrast in analysis.contrasts.items()},
        },
        "provenance": dict(result.provenance),
    }


def _recipe_json(recipe: RecipeResult) -> dict[str, Any]:
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


def _plain(value: object) -> Any:
    """Return a JSON value for NumPy's scalars and arrays, and a string for paths."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"the report cannot store {type(value).__name__} as JSON: {value!r}")


def _pattern_distances(analysis: Analysis) -> dict[str, float | None] | None:
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


def _number(value: float) -> str:
    """Return three significant digits."""
    return f"{value:#.3g}".rstrip(".")


def _estimate(estimate: Estimate | None, suffix: str = "") -> tuple[str, str]:
    """Return the value and, where there is one, its interval, as text."""
    if estimate is None:
        return "–", ""
    value = _number(estimate.value) + suffix
    if estimate.low is None or estimate.high is None:
        return value, ""
    return value, f"({_number(estimate.low)} to {_number(estimate.high)})"


def _rate(count: Count | None) -> tuple[str, str]:
    """Return "98% (49/50)" and the interval, as text."""
    if count is None:
        return "–", ""
    low, high = count.interval
    return f"{count.rate:.0%} ({count.successes}/{count.n})", f"({low:.0%} to {high:.0%})"


def _policy_name(recipe: RecipeResult, pattern: int) -> str:
    """Return the recipe's name with the pattern, where it has one."""
    return recipe.name if pattern < 0 else f"{recipe.name}, pattern {pattern}"


def _patterns(recipe: RecipeResult) -> list[int]:
    """Return the patterns that any success count of the recipe names, in order."""
    return sorted({*recipe.learned, *recipe.reinforced, *recipe.recognised})


def _lowest(counts: Mapping[int, Count]) -> Count | None:
    """Return the count with the lowest rate."""
    return min(counts.values(), key=lambda count: count.rate, default=None)


def _success_rows(result: TaskResult) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return, per recipe and pattern, its name and three (value, interval) cells."""
    return [
        (
            _policy_name(recipe, pattern),
            [
                _rate(counts.get(pattern))
                for counts in (recipe.learned, recipe.reinforced, recipe.recognised)
            ],
        )
        for recipe in result.recipes
        for pattern in _patterns(recipe)
    ]


def _diversity_rows(analysis: Analysis) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    """Return, per metric, label, unit, meaning and three (value, interval) cells."""
    rows = []
    for metric in TABLE_1 + SUPPLEMENT:
        contrast = analysis.contrasts[metric.key]
        cells = [_estimate(contrast.baseline), _estimate(contrast.candidate)]
        rows.append((metric.label, metric.unit, metric.meaning, [*cells, _ratio(contrast)]))
    return rows


def _ratio(contrast: Contrast | None) -> tuple[str, str]:
    return _estimate(contrast.ratio if contrast else None, "×")


def _success_table(result: TaskResult) -> Table:
    table = Table(title="Held-out success, 95% Wilson intervals", title_justify="left")
    table.add_column("")
    for stage in ("after learn", "after reinforce", "recognised as z"):
        table.add_column(stage, justify="right")
    for name, cells in _success_rows(result):
        table.add_row(Text(name), *("\n".join(cell).strip() for cell in cells))
    return table


def _diversity_table(analysis: Analysis) -> Table:
    table = Table(title="Diversity (higher is more), 95% bootstrap intervals", title_justify="left")
    table.add_column("")
    for recipe in analysis.result.recipes:
        table.add_column(Text(recipe.name), justify="right")
    table.add_column("ratio", justify="right")
    for i, (label, unit, _, cells) in enumerate(_diversity_rows(analysis)):
        name = f"{label} [{unit}]" if unit else label
        end = i == len(TABLE_1) - 1
        table.add_row(Text(name), *("\n".join(c).strip() for c in cells), end_section=end)
    return table


# The page


def _overview(analysis: Analysis) -> dict[str, Any]:
    """Return one row of the table at the head of the page."""
    result, contrasts = analysis.result, analysis.contrasts
    nmi = result.candidate.discovery_nmi
    return {
        "language": result.language,
        "cells": [
            _rate(_lowest(result.baseline.reinforced)),
            _rate(_lowest(result.candidate.reinforced)),
            _ratio(contrasts.get("mean_pairwise_distance")),
            _ratio(contrasts.get("endpoint_variance")),
            _rate(_lowest(result.candidate.recognised)),
            ("–" if nmi is None else f"{nmi:.2f}", ""),
        ],
    }


def _task_view(analysis: Analysis, anchor: str) -> dict[str, Any]:
    """Return what the template shows of one task."""
    result = analysis.result
    return {
        "anchor": anchor,
        "task": result.task,
        "language": result.language,
        "recipes": [recipe.name for recipe in result.recipes],
        "note": analysis.note,
        "success": _success_rows(result),
        "success_figures": _success_figures(result, anchor),
        "diversity": _diversity_rows(analysis) if analysis.contrasts else [],
        "diversity_figures": _diversity_figures(analysis, anchor),
        "filmstrips": [
            {
                "title": _policy_name(recipe, strip.pattern),
                "frames": [_data_uri(frame) for frame in strip.frames],
            }
            for recipe in result.recipes
            for strip in recipe.filmstrips
        ],
        "collection": [(r.name, sorted(r.collection.items())) for r in result.recipes],
        "provenance": json.dumps(
            result.provenance, indent=2, default=_plain, ensure_ascii=False, sort_keys=True
        ),
    }


def _data_uri(frame: npt.NDArray[np.uint8]) -> str:
    """Return an RGB picture (H, W, 3) as a JPEG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _success_figures(result: TaskResult, anchor: str) -> list[Panel]:
    """Return the pictures of success: after both stages, and while learning."""
    bars = [
        Bars(
            _policy_name(recipe, pattern),
            pattern,
            *(
                (counts[pattern].successes, counts[pattern].n) if pattern in counts else None
                for counts in (recipe.learned, recipe.reinforced)
            ),
        )
        for recipe in result.recipes
        for pattern in _patterns(recipe)
    ]
    lines = [
        _line(recipe, curve, shade)
        for recipe, shade in zip(result.recipes, figures.RECIPE_COLOURS, strict=True)
        for curve in recipe.curves
    ]
    panels = [
        panel(partial(figures.draw_success, policies=bars), "Held-out success", f"{anchor}-success")
    ]
    if lines:
        draw = partial(figures.draw_curves, lines=lines)
        panels.append(panel(draw, "Success while reinforcing", f"{anchor}-curves"))
    return panels


def _line(recipe: RecipeResult, curve: LearningCurve, shade: str) -> Line:
    """Return a learning curve as a line: a recipe's own is thick, a pattern's has its colour."""
    steps, success = np.asarray(curve.steps, float), np.asarray(curve.success, float)
    if curve.pattern is None:
        return Line(recipe.name, shade, 2.0, steps, success)
    label = _policy_name(recipe, curve.pattern)
    return Line(label, figures.colour(curve.pattern), 1.2, steps, success)


def _diversity_figures(analysis: Analysis, anchor: str) -> list[dict[str, Any]]:
    """Return the groups of pictures that show the matched trajectories."""
    if analysis.matched is None:
        return []
    return [
        {
            "title": "End-effector paths",
            "caption": "From above and from the side, same axes for both recipes. Dots are starts.",
            "legend": _pattern_legend(analysis),
            "panels": _path_panels(analysis, analysis.matched, anchor),
        },
        {
            "title": "Distances between trajectories",
            "caption": "Same colour scale, rows ordered by pattern: blocks are distinct ways."
            + _separation(analysis),
            "legend": [],
            "panels": _matrix_panels(analysis, analysis.matched, anchor),
        },
        {
            "title": "Coverage",
            "caption": "Both recipes arranged together, and all pairwise distances.",
            "legend": [],
            "panels": _coverage_panels(analysis, analysis.matched, anchor),
        },
    ]


def _pattern_legend(analysis: Analysis) -> list[tuple[str, str]]:
    """Return name and colour of every pattern among the matched trajectories."""
    patterns = sorted({t.pattern for recipe in analysis.matched or () for t in recipe})
    baseline = analysis.result.baseline.name
    return [(baseline if z < 0 else f"pattern {z}", figures.colour(z)) for z in patterns]


def _path_panels(analysis: Analysis, matched: Matched, anchor: str) -> list[Panel]:
    """Return the end-effector paths of both recipes from above (x, y) and from the side (y, z)."""
    panels = []
    for view, dims in (("above", [0, 1]), ("the side", [1, 2])):
        paths = [[t.proprio[:, dims] for t in recipe] for recipe in matched]
        points = np.concatenate(paths[0] + paths[1])
        for i, recipe in enumerate(analysis.result.recipes):
            draw = partial(
                figures.draw_paths,
                paths=paths[i],
                patterns=[t.pattern for t in matched[i]],
                names="".join("xyz"[d] for d in dims),
                limits=(points.min(axis=0), points.max(axis=0)),
            )
            panels.append(panel(draw, f"{recipe.name}, from {view}", f"{anchor}-{dims[0]}{i}"))
    return panels


def _matrix_panels(analysis: Analysis, matched: Matched, anchor: str) -> list[Panel]:
    """Return both recipes' distance matrices, ordered by pattern, on one colour scale."""
    distances = [distance_matrix(features) for features in analysis.features]
    highest = max(float(d.max()) for d in distances)
    panels = []
    for i, recipe in enumerate(analysis.result.recipes):
        patterns = np.array([t.pattern for t in matched[i]])
        order = np.argsort(patterns, kind="stable")
        draw = partial(
            figures.draw_distances,
            distances=distances[i][np.ix_(order, order)],
            patterns=patterns[order],
            highest=highest,
        )
        panels.append(panel(draw, f"Distances, {recipe.name}", f"{anchor}-distances{i}"))
    return panels


def _coverage_panels(analysis: Analysis, matched: Matched, anchor: str) -> list[Panel]:
    """Return t-SNE of both recipes, where there are points enough, and all their distances."""
    upper = np.triu_indices(len(matched[0]), 1)
    distances = [distance_matrix(features)[upper] for features in analysis.features]
    names = [recipe.name for recipe in analysis.result.recipes]
    draw = partial(figures.draw_distribution, distances=distances, names=names)
    panels = [panel(draw, "Distribution of distances", f"{anchor}-distribution")]
    if 2 * len(matched[0]) >= figures.MINIMUM_TSNE:
        groups = [
            [(_policy_name(recipe, t.pattern), t.pattern) for t in trajectories]
            for recipe, trajectories in zip(analysis.result.recipes, matched, strict=True)
        ]
        draw = partial(figures.draw_tsne, features=analysis.features, groups=groups)
        panels.insert(0, panel(draw, "t-SNE of trajectories", f"{anchor}-tsne"))
    return panels


def _separation(analysis: Analysis) -> str:
    """Return a sentence on the candidate's distances within and between patterns."""
    found = _pattern_distances(analysis)
    if found is None or found["within"] is None or found["between"] is None:
        return ""
    return (
        f" {analysis.result.candidate.name}: mean distance {_number(found['within'])} within a "
        f"pattern, {_number(found['between'])} between patterns."
    )
