"""Figures of the page: success and ways over beta, and the second paper's Figures 6 and 7."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from experiments.figures import short_name, write_panels
from experiments.recipes.quality import PEOPLE, SCRIPTED, Quality, TaskQuality
from experiments.recipes.variants import BETAS
from experiments.study_results import StudyResult

_SHADES = {
    PEOPLE: "#8A8A8A",
    SCRIPTED: "#56B4E9",
    "o2o_rl": "#E69F00",
    "gaussian_rl": "#D55E00",
    "diffusion_rl": "#009E73",
}
"""Sources of Figures 6 and 7, in their order."""
_SUCCESS, _WAYS = "#0072B2", "#CC79A7"
_LETTERS = 36
"""Of a panel's title."""
_Y_AXIS = 1
"""Dimension of the action that Figure 7 shows."""


def over_beta(results: Sequence[StudyResult], path: Path) -> bool:
    """Draw success and ways kept over the weight of mutual information (Appendix E).

    Args:
        results: trainings of the variants in `BETAS`.
        path: a PNG file.

    Returns:
        Whether there was anything to draw: two betas of one task at least.
    """
    points = beta_points(results)
    drawn = [(short_name(task, _LETTERS), rows) for task, rows in points.items() if len(rows) > 1]
    if drawn:
        names = (("held-out success", _SUCCESS), ("mode entropy, of the demonstrations'", _WAYS))
        write_panels(
            path, [(title, partial(_draw_betas, rows=rows)) for title, rows in drawn], names
        )
    return bool(drawn)


def beta_points(
    results: Sequence[StudyResult],
) -> dict[str, list[tuple[float, float, float | None]]]:
    """Return, by task, beta, mean success over seeds and patterns, and mean mode entropy."""
    found: dict[str, list[tuple[float, float, float | None]]] = {}
    for task in sorted({r.task for r in results}):
        for name, beta in sorted(BETAS.items(), key=lambda item: item[1]):
            runs = [r for r in results if r.task == task and r.recipe == name]
            if runs:
                last = [r.stages[r.final] for r in runs]
                success = statistics.fmean(c.rate for stage in last for c in stage.success)
                measured = [s.measured.figures.get("mode_entropy") for s in last if s.measured]
                known = [value for value in measured if value is not None]
                ways = statistics.fmean(known) if known else None
                found.setdefault(task, []).append((beta, success, ways))
    return found


def _draw_betas(axes: Axes, rows: Sequence[tuple[float, float, float | None]]) -> str:
    places = range(len(rows))
    axes.plot(places, [success for _, success, _ in rows], "o-", color=_SUCCESS)
    ways = [np.nan if found is None else found for _, _, found in rows]
    axes.plot(places, ways, "s--", color=_WAYS)
    axes.set_xticks(places, [f"{beta:g}" for beta, _, _ in rows])
    axes.set(ylim=(-0.02, 1.1), xlabel="beta")
    axes.grid(axis="y")
    return "; ".join(f"beta {beta:g}: success {success:.0%}" for beta, success, _ in rows)


def figure_6(qualities: Mapping[str, TaskQuality], path: Path) -> bool:
    """Draw length and mean squared jerk of each task's sources; return whether there are any."""
    if not qualities:
        return False
    noisy = {task: found.sources for task, found in qualities.items()}
    quiet = {task: found.quiet for task, found in qualities.items() if found.quiet}
    draws = [
        ("Length, control steps", partial(_draw_bars, qualities=noisy, field="lengths")),
        ("Mean squared jerk, m²/s⁶", partial(_draw_bars, qualities=noisy, field="jerks")),
    ]
    if quiet:
        draws.append(
            ("The same without noise", partial(_draw_bars, qualities=quiet, field="jerks"))
        )
    write_panels(path, draws, _names(noisy), width=480 if not quiet else 360)
    return True


def _draw_bars(axes: Axes, qualities: Mapping[str, Mapping[str, Quality]], field: str) -> str:
    sources = [name for name, _ in _names(qualities)]
    wide = 0.8 / max(len(sources), 1)
    for place, found in enumerate(qualities.values()):
        for order, name in enumerate(sources):
            if name in found:
                values = getattr(found[name], field)
                axes.bar(
                    place + (order - (len(sources) - 1) / 2) * wide,
                    statistics.fmean(values),
                    wide,
                    yerr=float(np.std(values)),
                    color=_SHADES[name],
                    error_kw={"lw": 0.8},
                )
    axes.set_xticks(range(len(qualities)), [f"task {n + 1}" for n in range(len(qualities))])
    axes.grid(axis="y")
    return ""


def figure_7(qualities: Mapping[str, Quality], path: Path) -> bool:
    """Draw mean and standard deviation of the y action over time, a panel a source of one task."""
    shown = [name for name in _SHADES if name in qualities and qualities[name].deviation]
    draws = [(name, partial(_draw_action, quality=qualities[name], name=name)) for name in shown]
    if draws:
        write_panels(path, draws, (), width=220)
    return bool(draws)


def _draw_action(axes: Axes, quality: Quality, name: str) -> str:
    mean = np.array(quality.mean_action)[:, _Y_AXIS]
    spread = np.array(quality.deviation)[:, _Y_AXIS]
    time = np.linspace(0, 1, len(mean))
    axes.plot(time, mean, color=_SHADES[name])
    axes.fill_between(time, mean - spread, mean + spread, color=_SHADES[name], alpha=0.3, lw=0)
    axes.set(ylim=(-1.1, 1.1), xlabel="progress")
    axes.grid(axis="y")
    return ""


def _names(qualities: Mapping[str, Mapping[str, Quality]]) -> list[tuple[str, str]]:
    there = {name for found in qualities.values() for name in found}
    return [(name, shade) for name, shade in _SHADES.items() if name in there]
