"""What each source of episodes is like by itself, and whether recipes differ over tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table
from rich.text import Text

from analysis.diversity import SUPPLEMENT, TABLE_1, metric_key
from analysis.poses import SPACES, Space
from analysis.profile import COVERING, Profile
from analysis.recognition import Confusion
from analysis.statistics import geometric_mean, holm, sign_flip_test
from reports.run_outcomes import Analysis
from reports.run_tables import estimate, number

Cell = tuple[str, str]
"""A value and its interval, as text."""


@dataclass(frozen=True)
class Row:
    """A figure of every source."""

    key: str
    label: str
    meaning: str
    """What it means, in a sentence."""
    units: tuple[str, str] | None = None
    """Of positions and of rotations; None for a figure of the whole episode."""
    unit: str = ""
    """Of a figure of the whole episode."""

    @property
    def title(self) -> str:
        """Label with units."""
        unit = ", ".join(filter(None, self.units or (self.unit,)))
        return f"{self.label} [{unit}]" if unit else self.label


APART = (
    *(
        Row(m.key, m.label, m.meaning, (m.units["positions"], m.units["rotations"]))
        for m in (*TABLE_1, SUPPLEMENT[0])
    ),
    Row(
        "path_length",
        "Path length",
        "How far the hand went and turned: more than the demonstrations' is a detour or wandering.",
        ("m", "rad"),
    ),
    Row(
        "spread_within_mode",
        "Spread within a mode",
        "Mean distance of two episodes of one mode: noise and wandering, not ways.",
        ("m", "rad"),
    ),
    Row(
        "coverage",
        f"Coverage@{COVERING}",
        f"Share of the demonstrations that {COVERING} episodes are expected to come near; 'near' "
        "is a demonstration's distance to its fifth-nearest other. The demonstrations' own figure "
        "is what so many of them reach of the others.",
        ("", ""),
    ),
)
"""Figures of positions and of rotations, apart."""

WHOLE = (
    Row(
        "mode_entropy",
        "Entropy of modes",
        "How evenly episodes spread over the modes that a mixture of Gaussians finds in the "
        "demonstrations: 0 is one mode, 1 is as even as the demonstrations. Where a collection "
        "takes equally many episodes of each pattern, the interval says nothing of sampling.",
    ),
    Row(
        "way_entropy",
        "Entropy of ways",
        "The same over the demonstrations' named ways, as a discriminant recognises them.",
    ),
    Row(
        "way_agreement",
        "Ways as meant",
        "Share recognised as the way that was meant; of a pattern, the way that fits it best.",
    ),
    Row(
        "straightness",
        "Straightness",
        "Net displacement over path length: 1 is a straight line; detours and wandering lower it.",
    ),
    Row("episode_length", "Length", "Control steps, 20 a second, until success.", unit="steps"),
    Row("no_ops", "No-ops", "Steps of an episode in which neither hand nor gripper moved."),
    Row(
        "mean_squared_jerk",
        "Mean squared jerk",
        "Roughness of the hand's path: lower is smoother.",
        unit="m²/s⁶",
    ),
    *(
        Row(
            f"action_variance_{part}",
            f"Action variance, {part}",
            f"How differently episodes act ({part}) at equal progress: ways and noise alike.",
        )
        for part in ("translation", "rotation", "gripper")
    ),
)
"""Figures of whole episodes."""


@dataclass(frozen=True)
class TaskTest:
    """Whether the candidate differs from the baseline in a metric, with the task as the unit."""

    key: str
    """Metric and space, as `analysis.diversity.metric_key` names them."""
    title: str
    tasks: int
    """Those with a ratio; the test is of them."""
    ratio: float | None
    """Geometric mean over tasks of candidate over baseline; None with fewer than two."""
    p: float | None
    """Of a sign-flip test of the log ratios, two-sided."""
    corrected: float | None
    """The same, holding for all metrics of the table together (Holm)."""
    without_ratio: Mapping[str, int]
    """Further tasks, which have no ratio, by who has 0 of the metric there."""


def over_tasks(analyses: Sequence[Analysis]) -> list[TaskTest]:
    """Return a test for each metric of positions and rotations that two tasks or more have.

    With n tasks no p-value is below 2 / 2^n.
    """
    titles, ratios, zero = {}, {}, {}
    for space in SPACES:
        for metric in TABLE_1 + SUPPLEMENT:
            key = metric_key(metric.key, space)
            having = [a for a in analyses if key in a.contrasts]
            if len(having) > 1:
                titles[key] = f"{metric.label}, {space}"
                found = [a.contrasts[key].ratio for a in having]
                ratios[key] = [r.value for r in found if r and r.value > 0]
                zero[key] = without_ratio(_sides(a, key) for a in having)
    tested = {key: found for key, found in ratios.items() if len(found) > 1}
    means = {key: geometric_mean(found) for key, found in tested.items()}
    p_values = {key: sign_flip_test(np.log(found)) for key, found in tested.items()}
    corrected = holm(p_values)
    return [
        TaskTest(
            key, title, len(ratios[key]), means.get(key), p_values.get(key), corrected.get(key),
            zero[key],
        )
        for key, title in titles.items()
    ]  # fmt: skip


def _sides(analysis: Analysis, key: str) -> dict[str, float]:
    """Return a metric of both recipes, by their names."""
    contrast, recipes = analysis.contrasts[key], analysis.result.recipes
    values = contrast.baseline.value, contrast.candidate.value
    return {recipe.name: value for recipe, value in zip(recipes, values, strict=True)}


def without_ratio(tasks: Iterable[Mapping[str, float]]) -> dict[str, int]:
    """Return how many tasks have no ratio, by who has 0 there; tasks are values by recipe."""
    zero = (" and ".join(name for name, value in of.items() if value <= 0) for of in tasks)
    return dict(Counter(filter(None, zero)))


def ratio_note(without: Mapping[str, int]) -> str:
    """Return such as "3 more without a ratio: 0 in DLR"; nothing where all tasks have one."""
    return ", ".join(f"{n} more without a ratio: 0 in {names}" for names, n in without.items())


def task_test_cells(test: TaskTest) -> list[str]:
    """Return tasks and those without a ratio, ratio, p-value and corrected p-value, as text."""
    note = ratio_note(test.without_ratio)
    ratio, *p_values = (
        "–" if value is None else number(value) for value in (test.ratio, test.p, test.corrected)
    )
    times = "" if test.ratio is None else "×"
    return [f"{test.tasks} ({note})" if note else str(test.tasks), ratio + times, *p_values]


def apart_rows(profiles: Mapping[str, Profile]) -> list[tuple[Row, list[Cell]]]:
    """Return the rows of figures that any source has, with a cell for each source's two spaces."""
    keys = {row.key: [metric_key(row.key, space) for space in SPACES] for row in APART}
    return _rows(APART, keys, profiles)


def whole_rows(profiles: Mapping[str, Profile]) -> list[tuple[Row, list[Cell]]]:
    """Return the rows of figures of whole episodes, with a cell for each source."""
    return _rows(WHOLE, {row.key: [row.key] for row in WHOLE}, profiles)


def _rows(
    rows: Sequence[Row], keys: Mapping[str, Sequence[str]], profiles: Mapping[str, Profile]
) -> list[tuple[Row, list[Cell]]]:
    found = []
    for row in rows:
        cells = [
            estimate(profile.figures.get(key))
            for profile in profiles.values()
            for key in keys[row.key]
        ]
        if any(value != "–" for value, _ in cells):
            found.append((row, cells))
    return found


def source_tables(profiles: Mapping[str, Profile]) -> list[Table]:
    """Return the terminal's tables: positions, rotations, whole episodes, recognised ways."""
    if not profiles:
        return []
    tables = []
    for place, space in enumerate(SPACES):
        rows = [
            (f"{row.label} [{row.units[place]}]" if row.units and row.units[place] else row.label,
             cells[place :: len(SPACES)])
            for row, cells in apart_rows(profiles)
        ]  # fmt: skip
        tables.append(_table(_title(space), profiles, rows))
    whole = [(row.title, cells) for row, cells in whole_rows(profiles)]
    tables.append(_table("Whole episodes of each source", profiles, whole))
    return tables + [
        _confusion_table(name, found.confusion)
        for name, found in profiles.items()
        if found.confusion is not None
    ]


def task_test_table(tests: Sequence[TaskTest]) -> Table:
    """Return the terminal's table of tests over tasks."""
    table = Table(title="Over tasks: sign-flip tests, Holm's correction", title_justify="left")
    table.add_column("")
    for name in ("tasks", "ratio", "p", "p, corrected"):
        table.add_column(name, justify="right")
    for test in tests:
        table.add_row(Text(test.title), *task_test_cells(test))
    return table


def _title(space: Space) -> str:
    unit = {"positions": "metres", "rotations": "radians"}[space]
    return f"{space.capitalize()} of each source, in {unit}; every source has its own starts"


def _table(
    title: str, profiles: Mapping[str, Profile], rows: Sequence[tuple[str, Sequence[Cell]]]
) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name, found in profiles.items():
        table.add_column(Text(f"{name}\n{found.episodes} episodes"), justify="right")
    for name, cells in rows:
        table.add_row(Text(name), *("\n".join(cell).strip() for cell in cells))
    return table


def _confusion_table(name: str, confusion: Confusion) -> Table:
    table = Table(title=Text(f"{name}: recognised as"), title_justify="left")
    table.add_column("")
    for way in confusion.named:
        table.add_column(Text(way), justify="right")
    for kind, counts in zip(confusion.known, confusion.counts.tolist(), strict=True):
        table.add_row(Text(kind), *map(str, counts))
    return table
