"""The report's pictures: small panels as inline SVG that take their ink from the page.

A panel is one picture of its own, so that a narrow screen can stack it under its neighbour. Every
drawing function takes matplotlib axes and plain arrays, and returns what the picture shows, in
words, for those who cannot see it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter
from sklearn.manifold import TSNE

from common.intervals import wilson_interval

FloatArray = npt.NDArray[np.float64]

RECIPE_COLOURS = ("#8A8A8A", "#CC79A7")
"""Baseline and candidate; a pattern never looks like one of them."""
MINIMUM_TSNE = 5
"""Fewer points than this give t-SNE nothing to arrange."""
_PATTERN_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#56B4E9", "#D55E00", "#F0E442")
"""Okabe and Ito's palette, which the colour-blind can tell apart; patterns beyond it reuse it."""
_STAGES = (("after learn", -0.2, 0.4), ("after reinforce", 0.2, 1.0))
"""Name, offset and opacity of the two bars of a policy."""
_INK, _RULE = "#010203", "#040506"
"""Stand-ins that `_svg` replaces by the page's text and line colours."""
_PALE = "#B8B8B8"
"""Lines of a picture that stands by itself."""
_LEGEND_ROW = 18
"""Height of a row of its legend, pixels."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": _RULE,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


@dataclass(frozen=True)
class Panel:
    """One picture."""

    svg: Markup
    """SVG element without references to anything outside itself but the page's style."""
    alt: str
    """What it shows, in words."""


@dataclass(frozen=True)
class Bars:
    """One policy's success after both stages."""

    label: str
    pattern: int
    learned: tuple[int, int] | None
    """(successes, trials) of the cloned policy; None where it was not evaluated."""
    reinforced: tuple[int, int] | None
    """The same for the final policy."""


@dataclass(frozen=True)
class Line:
    """One policy's success while it is reinforced."""

    label: str
    colour: str
    width: float
    steps: FloatArray
    """(M,) environment steps."""
    success: FloatArray
    """(M,) fraction of successes."""


def colour(pattern: int) -> str:
    """Return the colour of a pattern; the baseline's for a policy without patterns (-1)."""
    return RECIPE_COLOURS[0] if pattern < 0 else _PATTERN_COLOURS[pattern % len(_PATTERN_COLOURS)]


def recipe_colour(order: int) -> str:
    """Return the colour of a recipe: the baseline is 0, the candidate 1, then further ones."""
    shades = (*RECIPE_COLOURS, *reversed(_PATTERN_COLOURS))
    return shades[order % len(shades)]


def panel(draw: Callable[[Axes], str], title: str, name: str) -> Panel:
    """Draw one panel.

    Args:
        draw: draws into the axes and describes the picture.
        title: heading of the panel.
        name: prefix of the ids within the SVG, unique on the page.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(3.7, 3.0), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        description = draw(axes)
        return Panel(_svg(figure, name), f"{title}. {description}")


def picture(
    draws: Sequence[tuple[str, Callable[[Axes], str]]],
    width: int,
    height: int,
    names: Sequence[tuple[str, str]] = (),
) -> npt.NDArray[np.uint8]:
    """Draw panels side by side as pixels, for pictures that are no part of a page.

    Args:
        draws: title of each panel, and what draws into its axes.
        width: pixels.
        height: pixels.
        names: label and colour of what the legend names, in rows below the panels.

    Returns:
        uint8 (height + rows of the legend, width, 3).
    """
    longest = max((len(label) for label, _ in names), default=1)
    columns = min(max(1, width // (60 + 6 * longest)), max(1, len(names)))
    height += _LEGEND_ROW * -(-len(names) // columns)
    with matplotlib.rc_context({**_STYLE, "grid.color": _PALE}):
        figure = Figure(figsize=(width / 100, height / 100), dpi=100, layout="constrained")
        panels = figure.subplots(1, len(draws), squeeze=False)[0]
        for axes, (title, draw) in zip(panels, draws, strict=True):
            axes.set_title(title)
            draw(axes)
        handles = [Patch(color=shade, label=label) for label, shade in names]
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _svg(figure: Figure, name: str) -> Markup:
    """Return a figure as an SVG element, with two decimals, ids of its own and the page's ink."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"| (width|height)="[\d.]+pt"', "", svg)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' d="[^"]*"', lambda d: re.sub(r"(\.\d{2})\d+", r"\1", d[0]), svg)
    svg = svg.replace(_INK, "currentColor").replace(_RULE, "var(--rule)")
    return Markup(svg.replace("<svg", '<svg aria-hidden="true"', 1))


def _legend(axes: Axes, handles: Sequence[Patch] | None = None) -> None:
    """Put the legend below the axes, where it covers nothing."""
    labelled = axes.get_legend_handles_labels()[0] if handles is None else list(handles)
    axes.figure.legend(handles=labelled, loc="outside lower center", ncols=2)


def draw_success(axes: Axes, policies: Sequence[Bars]) -> str:
    """Draw success after learn (pale) and after reinforce (solid) with Wilson intervals."""
    words = []
    for y, policy in enumerate(policies):
        shown = []
        counts = (policy.learned, policy.reinforced)
        for count, (stage, offset, alpha) in zip(counts, _STAGES, strict=True):
            if count is None:
                continue
            (successes, n), (low, high) = count, wilson_interval(*count)
            rate = successes / n if n else 0.0
            axes.barh(y + offset, rate, 0.36, color=colour(policy.pattern), alpha=alpha)
            axes.hlines(y + offset, low, high, color=_INK, lw=1)
            axes.plot([low, high], [y + offset] * 2, "|", color=_INK, ms=5, clip_on=False)
            axes.text(1.03, y + offset, f"{successes}/{n}", va="center", fontsize=8)
            shown.append(f"{successes} of {n} {stage}")
        words.append(f"{policy.label}: {', '.join(shown)}")
    axes.set_yticks(range(len(policies)), [p.label.replace(", ", "\n") for p in policies])
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 1), ylim=(len(policies) - 0.5, -0.5), xlabel="held-out success")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    axes.grid(axis="x")
    _legend(axes, [Patch(color=RECIPE_COLOURS[0], alpha=a, label=stage) for stage, _, a in _STAGES])
    return "; ".join(words) + "."


def draw_curves(axes: Axes, lines: Sequence[Line]) -> str:
    """Draw held-out success against environment steps."""
    for line in lines:
        axes.plot(
            line.steps,
            line.success,
            color=line.colour,
            lw=line.width,
            label=line.label,
            marker=".",
            ms=4,
        )
    axes.set(ylim=(-0.02, 1.02), xlabel="environment steps", ylabel="held-out success")
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="y")
    _legend(axes)
    spans = (
        f"{x.label}: {x.success[0]:.0%} to {x.success[-1]:.0%}" for x in lines if x.success.size
    )
    return "; ".join(spans) + "."


def draw_paths(
    axes: Axes,
    paths: Sequence[FloatArray],
    patterns: Sequence[int],
    names: str,
    limits: tuple[FloatArray, FloatArray],
) -> str:
    """Draw paths coloured by pattern, with a dot at each start.

    Args:
        axes: where to draw.
        paths: N of (T, 2) [m].
        patterns: pattern of each path.
        names: the two coordinates' letters, such as "xy".
        limits: lowest and highest point (2,) to show, the same for panels to be compared.
    """
    colours = [colour(pattern) for pattern in patterns]
    axes.add_collection(LineCollection(list(paths), colors=colours, linewidths=0.9, alpha=0.75))
    starts = np.array([path[0] for path in paths])
    axes.scatter(starts[:, 0], starts[:, 1], s=7, color=_INK, zorder=3, lw=0)
    (left, bottom), (right, top) = limits
    margin = 0.05 * max(right - left, top - bottom) + 1e-3
    axes.set(
        xlim=(left - margin, right + margin),
        ylim=(bottom - margin, top + margin),
        xlabel=f"{names[0]} [m]",
        ylabel=f"{names[1]} [m]",
    )
    axes.set_aspect("equal", adjustable="box")
    axes.locator_params(nbins=4)
    width, height = np.ptp(np.concatenate(paths), axis=0)
    return (
        f"{len(paths)} paths of {len(set(patterns))} pattern(s), over {width:.2f} by "
        f"{height:.2f} metres."
    )


def draw_distances(
    axes: Axes, distances: FloatArray, patterns: npt.NDArray[np.int64], highest: float
) -> str:
    """Draw a distance matrix (N, N) whose rows are ordered by pattern.

    Args:
        axes: where to draw.
        distances: (N, N).
        patterns: (N,) pattern of each row, sorted.
        highest: top of the colour scale, the same for panels to be compared.
    """
    image = axes.imshow(distances, vmin=0, vmax=highest or 1.0, interpolation="none")
    values, first, counts = np.unique(patterns, return_index=True, return_counts=True)
    for boundary in first[1:] - 0.5:
        axes.axhline(boundary, color="white", lw=1)
        axes.axvline(boundary, color="white", lw=1)
    names = ["all" if pattern < 0 else f"z={pattern}" for pattern in values]
    axes.set_xticks(first + counts / 2 - 0.5, names)
    axes.set_yticks(first + counts / 2 - 0.5, names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.figure.colorbar(image, ax=axes, shrink=0.8).outline.set_visible(False)
    mean = distances[np.triu_indices(len(distances), 1)].mean()
    return f"{len(distances)} trajectories, mean distance {mean:.3g}."


def draw_tsne(
    axes: Axes, features: Sequence[FloatArray], groups: Sequence[Sequence[tuple[str, int]]]
) -> str:
    """Draw t-SNE of both recipes together: circles for the baseline, squares for the candidate.

    Args:
        axes: where to draw.
        features: per recipe (N, F).
        groups: per recipe, the label and pattern of each trajectory.
    """
    together = np.concatenate(features)
    perplexity = min(30.0, (len(together) - 1) / 3)
    points = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(together)
    recipes = np.split(points, [len(features[0])])
    for recipe, members, marker in zip(recipes, groups, "os", strict=True):
        for group in sorted(set(members), key=lambda g: g[1]):
            chosen = recipe[[member == group for member in members]]
            axes.scatter(
                chosen[:, 0],
                chosen[:, 1],
                s=16,
                marker=marker,
                color=colour(group[1]),
                alpha=0.8,
                lw=0,
                label=group[0],
            )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    _legend(axes)
    return f"{len(together)} trajectories of both recipes."


def draw_distribution(axes: Axes, distances: Sequence[FloatArray], names: Sequence[str]) -> str:
    """Draw the histograms of both recipes' pairwise distances (P,), and their means."""
    bins = np.linspace(0, max(float(d.max()) for d in distances) or 1.0, 41).tolist()
    words = []
    for values, name, shade in zip(distances, names, RECIPE_COLOURS, strict=True):
        axes.hist(values, bins, color=shade, alpha=0.35, histtype="stepfilled")
        axes.hist(values, bins, color=shade, lw=1.5, histtype="step", label=name)
        axes.axvline(float(values.mean()), color=shade, lw=1.2, ls="--")
        words.append(f"{name}: mean {values.mean():.3g}, largest {values.max():.3g}")
    axes.set(xlabel="pairwise distance (dashed: mean)", ylabel="pairs")
    _legend(axes)
    return "; ".join(words) + "."
