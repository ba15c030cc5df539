"""Published and rerun success of known checkpoints, each with its source, and how a run compares.

`figures.json` holds the figures. Averages are over Spatial, Object, Goal and Long.
"""

from __future__ import annotations

import functools
import importlib.resources
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from common.errors import SettingError
from common.intervals import wilson_interval
from common.json_files import parse_json
from eval_harness.plan import OUT_OF_DISTRIBUTION
from simulation.assets.embedded import PACK_NAME
from simulation.tasks import list_tasks

ROLLOUTS = 500
"""Of a suite where a source states no number: fifty of each of ten tasks, as in the protocols."""
ALL = "average"
"""Row of the four suites together."""
Agreement = Literal["agrees", "lower", "higher", "incomplete", "other tasks", "not comparable"]
"""Whether the interval of the difference from a published rate holds zero, or why none is given."""


@dataclass(frozen=True)
class Figure:
    """What one source says of one checkpoint."""

    model: str
    """Name under which it is asked for."""
    kind: Literal["published", "rerun"]
    """By those who made the checkpoint or the benchmark, or by others."""
    by: str
    """Who measured it."""
    benchmark: str
    """`LIBERO`, or a perturbed suite of others."""
    suites: Mapping[str, float]
    """Suite -> success, %; empty where only the average is given."""
    average: float | None
    """Mean of the four suites, or of the benchmark, %; None where it is not given."""
    rollouts: int | None
    """Of each suite (of a perturbed benchmark: of all); None where it is not stated."""
    protocol: str | None
    """Protocol of `protocols.PROTOCOLS` that it was measured under; None where none is stated."""
    source: str
    """Where the figures stand."""
    note: str
    """What a reader should know, or nothing."""

    def rates(self) -> dict[str, tuple[float, int]]:
        """Return suite (or `average`) -> success, 0..1, and the rollouts behind it."""
        count = self.rollouts or ROLLOUTS
        found = {suite: (percent / 100, count) for suite, percent in self.suites.items()}
        if self.average is not None:
            found[ALL] = (self.average / 100, count * len(OUT_OF_DISTRIBUTION))
        return found


@dataclass(frozen=True)
class Agreed:
    """A run beside a published rate."""

    suite: str
    """Suite, or `average`."""
    published: float
    """Published success, 0..1."""
    published_low: float
    """Lower end of Wilson's interval of it, from the rollouts behind it."""
    published_high: float
    """Upper end."""
    rate: float | None
    """The run's success; None where it is not known."""
    low: float | None
    """Lower end of the difference, the run's less the published; None likewise."""
    high: float | None
    """Upper end."""
    agreement: Agreement
    """What that says."""


@dataclass(frozen=True)
class PublishedComparison:
    """A run beside the published figures of a checkpoint."""

    figure: Figure
    """The published figures."""
    rows: tuple[Agreed, ...]
    """Each suite that the run has, and the average of all four if it has these."""
    warnings: tuple[str, ...]
    """In what the run differs from what was published, in sentences."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


@functools.cache
def all_figures() -> tuple[Figure, ...]:
    """Return all figures, the published before the reruns of each model."""
    path = importlib.resources.files("eval_harness.published").joinpath("figures.json")
    return tuple(Figure(**entry) for entry in parse_json(path.read_bytes())["figures"])


def find_figures(model: str) -> list[Figure]:
    """Return the figures of a model, or of all sizes of one, as of `smolvla`.

    Raises:
        SettingError: there is none of this name.
    """
    name = model.lower()
    found = [figure for figure in all_figures() if figure.model == name]
    found = found or [figure for figure in all_figures() if _family(figure.model) == name]
    if not found:
        names = ", ".join(dict.fromkeys(figure.model for figure in all_figures()))
        raise SettingError(f"no figures of {model!r} are known; there are {names}")
    return found


def _family(model: str) -> str:
    """Return a model's name without its size, such as `smolvla` of `smolvla-0.24b`."""
    return re.sub(r"-[\d.]+b$", "", model)


def compare_published(
    model: str, summary: Mapping[str, Any], config: Mapping[str, Any]
) -> PublishedComparison:
    """Compare an evaluation with a checkpoint's published success on LIBERO.

    The interval of the difference comes from both rates' own intervals by the method of variance
    estimates recovery (Zou and Donner, 2008; of Wilson's intervals it is Newcombe's, 1998). It
    holds zero where the run is as good as what was published, as far as both tell.

    Args:
        model: name of the checkpoint.
        summary: of `results.summarise`.
        config: of the results.

    Raises:
        SettingError: the model is not known, nothing of it on LIBERO is published, or there are
            several sizes of it.
    """
    figures = [
        figure
        for figure in find_figures(model)
        if figure.kind == "published" and figure.benchmark == "LIBERO"
    ]
    if not figures:
        raise SettingError(f"of {model} only reruns, or other benchmarks than LIBERO, are known")
    if len(figures) > 1:
        names = ", ".join(figure.model for figure in figures)
        raise SettingError(f"{model} is published in several sizes: name one of {names}")
    figure = figures[0]
    suites = summary["suites"]
    entries = {suite: suites[suite] for suite in figure.suites if suite in suites}
    if set(OUT_OF_DISTRIBUTION) == set(suites) and figure.average is not None:
        entries[ALL] = summary["all"]
    rates = figure.rates()
    rows = tuple(_agree(suite, *rates[suite], e, summary, config) for suite, e in entries.items())
    return PublishedComparison(figure, rows, tuple(_warnings(figure, rows, summary, config)))


def _agree(
    suite: str,
    published: float,
    rollouts: int,
    entry: Mapping[str, Any],
    summary: Mapping[str, Any],
    config: Mapping[str, Any],
) -> Agreed:
    low, high = wilson_interval(round(published * rollouts), rollouts)
    blank = (suite, published, low, high, entry["rate"], None, None)
    if _other_world(summary, config):
        return Agreed(*blank, "not comparable")
    wanted = OUT_OF_DISTRIBUTION if suite == ALL else (suite,)
    if {task.key for name in wanted for task in list_tasks(name)} - summary["tasks"].keys():
        return Agreed(*blank, "other tasks")
    if entry["rate"] is None:
        return Agreed(*blank, "incomplete")
    rate = entry["rate"]
    difference = rate - published
    least = difference - math.hypot(rate - entry["low"], high - published)
    most = difference + math.hypot(entry["high"] - rate, published - low)
    says: Agreement = "lower" if most < 0 else "higher" if least > 0 else "agrees"
    return Agreed(suite, published, low, high, rate, least, most, says)


def _other_world(summary: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Return whether a run was not of LIBERO's own scenes and starts."""
    stand_ins = summary["assets"]["name"] == PACK_NAME
    return bool(stand_ins or config.get("starts") or "perturbations" in config["protocol"])


def _warnings(
    figure: Figure,
    rows: tuple[Agreed, ...],
    summary: Mapping[str, Any],
    config: Mapping[str, Any],
) -> list[str]:
    found = []
    if not rows:
        suites = ", ".join(figure.suites) or "only the average of " + ", ".join(OUT_OF_DISTRIBUTION)
        found.append(f"The run has no suite of which success is published: that is {suites}.")
    if _other_world(summary, config):
        found.append(
            "The run is not of LIBERO's own scenes and starts (stand-in assets, perturbation, or "
            "recorded starts), so that published rates say nothing about it."
        )
    if figure.protocol != (name := config["protocol"]["name"]):
        followed = figure.protocol or "a protocol that the source does not state"
        found.append(f"Published under {followed}, run under {name}.")
    if figure.rollouts is None:
        found.append(
            f"The source states no number of rollouts; {ROLLOUTS} of each suite are assumed."
        )
    return found
