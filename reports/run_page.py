"""The page of a run's report: no script, no external resource, figures as inline SVG.

Pictures follow light and dark mode; thumbnails are data URIs.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from analysis.diversity import ENCODER, TABLE_1, distance_matrix, metric_key
from analysis.poses import SPACES
from analysis.profile import Profile
from reports import figures
from reports.figures import Bars, Line, Panel, panel
from reports.pages import render
from reports.run_outcomes import (
    Analysis,
    LearningCurve,
    Matched,
    RecipeOutcome,
    TaskOutcome,
)
from reports.run_sources import apart_rows, over_tasks, task_test_cells, whole_rows
from reports.run_tables import (
    diversity_rows,
    estimate,
    further_rows,
    lowest,
    number,
    pattern_distances,
    patterns,
    plain,
    policy_name,
    rate,
    ratio,
    success_rows,
    theorem_rows,
    training_rows,
)


def to_html(analyses: Sequence[Analysis], title: str) -> str:
    """Return the page."""
    return render(
        "reports",
        "run_template.html",
        title=title,
        tasks=[_task_view(analysis, f"task{i}") for i, analysis in enumerate(analyses)],
        overview=[_overview(analysis) for analysis in analyses],
        tests=[(test.title, task_test_cells(test)) for test in over_tasks(analyses)],
    )


def _overview(analysis: Analysis) -> dict[str, Any]:
    """Return one row of the table at the head of the page."""
    result, contrasts = analysis.result, analysis.contrasts
    nmi = result.candidate.discovery_nmi
    return {
        "language": result.language,
        "cells": [
            rate(lowest(result.baseline.reinforced)),
            rate(lowest(result.candidate.reinforced)),
            *(ratio(contrasts.get(metric_key("mean_pairwise_distance", s))) for s in SPACES),
            *(_mode_entropy(analysis.profiles.get(recipe.name)) for recipe in result.recipes),
            rate(lowest(result.candidate.recognised)),
            ("–" if nmi is None else f"{nmi:.2f}", ""),
        ],
    }


def _mode_entropy(profile: Profile | None) -> tuple[str, str]:
    """Return how evenly a source keeps to the demonstrations' modes, as text."""
    return estimate(profile.figures.get("mode_entropy") if profile else None)


def _diversity_view(analysis: Analysis) -> dict[str, Any]:
    """Return the comparison's tables: Table 1's rows, those beside them, the encoder's."""
    positions, rotations = (diversity_rows(analysis, space) for space in SPACES)
    rows = [
        (label, ", ".join(filter(None, (unit, other[1]))), meaning, [*cells, *other[3]])
        for (label, unit, meaning, cells), other in zip(positions, rotations, strict=True)
    ]
    return {
        "parts": [rows[: len(TABLE_1)], rows[len(TABLE_1) :]],
        "encoder": diversity_rows(analysis, ENCODER),
    }


def _source_view(analysis: Analysis) -> dict[str, Any]:
    """Return the tables of every source by itself."""
    profiles = analysis.profiles
    return {
        "names": [(name, found.episodes) for name, found in profiles.items()],
        "apart": [(row.title, row.meaning, cells) for row, cells in apart_rows(profiles)],
        "whole": [(row.title, row.meaning, cells) for row, cells in whole_rows(profiles)],
        "confusions": [
            (name, table.named, list(zip(table.known, table.counts.tolist(), strict=True)))
            for name, table in ((n, found.confusion) for n, found in profiles.items())
            if table is not None
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
        "success": success_rows(result),
        "training": training_rows(result),
        "theorem": theorem_rows(result),
        "success_figures": _success_figures(result, anchor),
        "diversity": _diversity_view(analysis) if analysis.contrasts else None,
        "further": {
            "names": list(analysis.further),
            "rows": list(zip(*(further_rows(analysis, s) for s in SPACES), strict=True)),
        },
        "sources": _source_view(analysis),
        "diversity_figures": _diversity_figures(analysis, anchor),
        "filmstrips": [
            {
                "title": policy_name(recipe, strip.pattern),
                "frames": [_data_uri(frame) for frame in strip.frames],
            }
            for recipe in result.everyone
            for strip in recipe.filmstrips
        ],
        "collection": [(r.name, sorted(r.collection.items())) for r in result.everyone],
        "provenance": json.dumps(
            result.provenance, indent=2, default=plain, ensure_ascii=False, sort_keys=True
        ),
    }


def _data_uri(frame: npt.NDArray[np.uint8]) -> str:
    """Return an RGB picture (H, W, 3) as a JPEG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _success_figures(result: TaskOutcome, anchor: str) -> list[Panel]:
    """Return the pictures of success: after both stages, and while learning."""
    bars = [
        Bars(
            policy_name(recipe, pattern),
            pattern,
            *(
                (count.successes, count.n) if (count := counts.get(pattern)) and count.n else None
                for counts in (recipe.learned, recipe.reinforced)
            ),
        )
        for recipe in result.everyone
        for pattern in patterns(recipe)
    ]
    lines = [
        _line(recipe, curve, figures.recipe_colour(order))
        for order, recipe in enumerate(result.everyone)
        for curve in recipe.curves
        if order < len(result.recipes) or curve.pattern is None
    ]
    panels = [
        panel(partial(figures.draw_success, policies=bars), "Held-out success", f"{anchor}-success")
    ]
    if lines:
        draw = partial(figures.draw_curves, lines=lines)
        panels.append(panel(draw, "Success while reinforcing", f"{anchor}-curves"))
    return panels


def _line(recipe: RecipeOutcome, curve: LearningCurve, shade: str) -> Line:
    """Return a learning curve as a line: a recipe's own is thick, a pattern's has its colour."""
    steps, success = np.asarray(curve.steps, float), np.asarray(curve.success, float)
    if curve.pattern is None:
        return Line(recipe.name, shade, 2.0, steps, success)
    label = policy_name(recipe, curve.pattern)
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
            "caption": "RMS distance of the hand's positions at equal progress, in metres. Same "
            "colour scale, rows ordered by pattern: blocks are distinct ways."
            + _separation(analysis),
            "legend": [],
            "panels": _matrix_panels(analysis, analysis.matched, anchor),
        },
        {
            "title": "Both recipes together",
            "caption": "Both recipes arranged together by these distances, and all of them.",
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
            [(policy_name(recipe, t.pattern), t.pattern) for t in trajectories]
            for recipe, trajectories in zip(analysis.result.recipes, matched, strict=True)
        ]
        draw = partial(figures.draw_tsne, features=analysis.features, groups=groups)
        panels.insert(0, panel(draw, "t-SNE of trajectories", f"{anchor}-tsne"))
    return panels


def _separation(analysis: Analysis) -> str:
    """Return a sentence on the candidate's distances within and between patterns."""
    found = pattern_distances(analysis)
    if found is None or found["within"] is None or found["between"] is None:
        return ""
    return (
        f" {analysis.result.candidate.name}: mean distance {number(found['within'])} m within a "
        f"pattern, {number(found['between'])} m between patterns."
    )
