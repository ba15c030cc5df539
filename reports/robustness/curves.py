"""Curves of retained success: one panel an axis, one line a policy, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from eval_harness.perturbations.retained import Retained
from reports.figures import Panel, colour, panel
from reports.robustness.entries import Entry

_SPREAD = 0.06
"""Levels by which the lines of two policies stand apart, so that no interval hides another."""
_STYLES = ("-", "--", ":")
"""Lines, as often as the colours repeat."""
_MARKERS = "osD^vP"


@dataclass(frozen=True)
class Curve:
    """What one policy keeps of its control's success along one axis."""

    label: str
    """The policy."""
    levels: tuple[int, ...]
    """Levels that were run and whose share is known."""
    kept: tuple[tuple[float, float, float], ...]
    """Share kept at each, and its interval."""
    order: int
    """Which of the page's policies it is: its colour and style."""


def axis_panels(entries: Sequence[Entry], prefix: str) -> list[tuple[str, Panel]]:
    """Return (axis, panel) of each axis that an entry has, in their order.

    Args:
        entries: entries under perturbation of the same tasks.
        prefix: of the ids within the SVGs, unique on the page.
    """
    axes = dict.fromkeys(arm.axes for entry in entries for arm in arms_of(entry))
    found = []
    for axis in axes:
        curves = [_curve(entry, axis, order) for order, entry in enumerate(entries)]
        known = [curve for curve in curves if curve.levels]
        if known:
            name = f"{prefix}-{axis.replace('+', '-')}"
            drawn = panel(lambda at, known=known: draw_retained(at, known), axis, name)  # type: ignore[misc]
            found.append((axis, drawn))
    return found


def arms_of(entry: Entry) -> tuple[Retained, ...]:
    """Return each condition of an entry."""
    return entry.robustness.arms if entry.robustness is not None else ()


def _curve(entry: Entry, axis: str, order: int) -> Curve:
    shares = [(arm.level, arm.share_kept) for arm in arms_of(entry) if arm.axes == axis]
    known = [(level, share) for level, share in shares if share is not None]
    return Curve(entry.title, tuple(at for at, _ in known), tuple(s for _, s in known), order)


def draw_retained(axes: Axes, curves: Sequence[Curve]) -> str:
    """Draw the share of the control's success that is kept at each level; level 0 is all of it."""
    words = []
    for place, curve in enumerate(curves):
        shift = _SPREAD * (place - (len(curves) - 1) / 2)
        levels = [0.0, *(level + shift for level in curve.levels)]
        kept = [1.0, *(share for share, _, _ in curve.kept)]
        shade = colour(curve.order)
        _, low, high = np.array(curve.kept).T
        axes.vlines(levels[1:], low, high, color=shade, lw=1, alpha=0.7)
        axes.plot(
            levels,
            kept,
            color=shade,
            lw=1.6,
            ls=_STYLES[curve.order // len(_MARKERS) % len(_STYLES)],
            marker=_MARKERS[curve.order % len(_MARKERS)],
            ms=4,
            label=curve.label,
            clip_on=False,
        )
        known = zip(curve.levels, curve.kept, strict=True)
        parts = (f"{share:.0%} at {level}" for level, (share, _, _) in known)
        words.append(f"{curve.label}: {', '.join(parts)}")
    axes.set(ylim=(0, 1), xlabel="level", ylabel="success kept")
    axes.set_xlim(-0.15, max(level for curve in curves for level in curve.levels) + 0.25)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
    axes.grid(axis="y")
    if len(curves) > 1:
        axes.figure.legend(loc="outside lower center", ncols=2)
    return "; ".join(words) + "."
