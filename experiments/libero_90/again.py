"""Trainings that were done a second time, later and elsewhere, and how far the results moved.

`python -m experiments.libero_90 --out results/again --run FOLDER --page-file FILE` does some again.
What a second time replaces is moved from `results/libero_90` to `results/before/libero_90`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from experiments.libero_90.scoreboard import AGAIN, BEFORE, RECIPES, TARGET, RecipeRow, Scoreboard
from experiments.libero_90.tables import NONE, Table, number, ways
from experiments.study_results import Measured, StageResult
from experiments.study_tests import BASELINE, DLR
from generator.run_folder import LEARN

_CLOSE = 1e-9
"""Relative difference up to which two means are of the same numbers, summed in another order."""
_ENTROPY = "mode_entropy"
_LOST = 0.1
"""Mode entropy that is named as lost."""
_STARTED, _LEARNED, _ENDED = "demonstrations", "after learn", "at the end"


@dataclass(frozen=True)
class Pair:
    """One training, done twice."""

    name: str
    """The task's name."""
    recipe: str
    """The recipe's."""
    first: RecipeRow
    """What it came to the first time."""
    second: RecipeRow
    """What it came to the second time."""
    replaced: bool = False
    """Whether the scoreboard counts the second time."""

    @property
    def alike(self) -> str:
        """Up to where both have the same figures, or nothing."""
        first, second = self.first.result, self.second.result
        if not _same_measures(first.demonstrations, second.demonstrations):
            return ""
        if not _same_stages(first.stages.get(LEARN), second.stages.get(LEARN)):
            return _STARTED
        return _ENDED if _same_stages(self.first.final, self.second.final) else _LEARNED

    @property
    def change(self) -> float:
        """Mean success of the patterns at the end, the second less the first."""
        return self.second.mean - self.first.mean


def done_again(board: Scoreboard) -> Table:
    """Return what the second time came to, of all trainings that were done again."""
    pairs = _pairs(board)
    if not pairs:
        return Table("Done again", before=["None has been done again."])
    heads = ["task", "recipe"]
    for name in ("success", "ways", "mode entropy", "updates of PPO"):
        heads += [name, "again"]
    rows = [
        [
            pair.name, pair.recipe,
            *(cell(row) for cell in _CELLS for row in (pair.first, pair.second)),
            pair.alike or NONE,
        ]
        for pair in pairs
    ]  # fmt: skip
    before = [_what(pairs), *_changes(pairs), *_moved_now(pairs), *_more_steps(pairs, board)]
    return Table("Done again", [*heads, "alike"], rows, before)


def _pairs(board: Scoreboard) -> list[Pair]:
    """Return what was done twice, in the order of the rows."""
    pairs = []
    for row in board.rows:
        for recipe, counted in row.recipes.items():
            key = (row.key, recipe)
            if key in board.before:
                pairs.append(Pair(row.name, recipe, board.before[key], counted, replaced=True))
            elif key in board.again:
                pairs.append(Pair(row.name, recipe, counted, board.again[key]))
    return pairs


def _what(pairs: Sequence[Pair]) -> str:
    """Return which trainings were done again, and how many are alike up to where."""
    machines = {str(pair.second.result.provenance.get("machine", "")) for pair in pairs}
    alike = [pair.alike for pair in pairs]
    started = [one for one in alike if one]
    return (
        f"{len(pairs)} trainings of {len({pair.name for pair in pairs})} tasks were done a second "
        f"time, from the demonstrations on, by later versions of the code on another machine "
        f"({'; '.join(sorted(machines))}). {_counted(pairs)} {len(started)} began with "
        "demonstrations of the same "
        "figures; the skills of the others' demonstrators had changed. Of these "
        f"{sum(one != _STARTED for one in started)} had the same success and figures after "
        f"`learn`, and {started.count(_ENDED)} at the end as well, to the ninth digit. So a row "
        "says how far code and machine together move a task's result."
    )


def _counted(pairs: Sequence[Pair]) -> str:
    """Return which of the two times the scoreboard counts."""
    replaced = {pair.name for pair in pairs if pair.replaced}
    kept = {pair.name for pair in pairs if not pair.replaced}
    text = []
    if replaced:
        text.append(
            f"On {len(replaced)} tasks DLR's short PPO had had its steps for all patterns "
            "together, too few for most: there the second time counts, with steps for each "
            f"pattern; the first is in `results/{BEFORE}`."
        )
    if kept:
        text.append(f"On {len(kept)} the first counts; the second is in `results/{AGAIN}`.")
    return " ".join(text)


def _changes(pairs: Sequence[Pair]) -> list[str]:
    """Return, of each recipe, how much success changed."""
    lines = []
    for recipe in RECIPES:
        mine = [pair for pair in pairs if pair.recipe == recipe]
        if not mine:
            continue
        first, second = zip(*_sides(mine), strict=True)
        changes = [100 * pair.change for pair in mine]
        counts = [sum(row.least >= TARGET for row in side) for side in (first, second)]
        lines.append(
            f"{recipe}: mean success {_mean(first):.1%}, again "
            f"{_mean(second):.1%}; a task's changed by "
            f"{statistics.fmean(map(abs, changes)):.1f} points on average, by {min(changes):+.0f} "
            f"to {max(changes):+.0f}. Every pattern at {TARGET:.0%} or more on {counts[0]}, again "
            f"on {counts[1]}, of {len(mine)}."
        )
    return lines


def _moved_now(pairs: Sequence[Pair]) -> list[str]:
    """Return what came of policies that PPO left as they were the first time alone."""
    those = [p for p in pairs if not p.first.result.moved and p.second.result.moved]
    if not those:
        return []
    figures = [(a.figure(_ENTROPY), b.figure(_ENTROPY)) for a, b in _sides(those)]
    known = [pair for pair in figures if not any(map(math.isnan, pair))]
    entropy = [statistics.fmean(side) for side in zip(*known, strict=True)] if known else []
    return [
        f"{len(those)} policies ended with the clone's episodes the first time alone "
        f"({', '.join(sorted({pair.recipe for pair in those}))}). The second time {_outcome(those)}"
        + (f"; mode entropy {entropy[0]:.2f}, again {entropy[1]:.2f}." if entropy else ".")
    ]


def _more_steps(pairs: Sequence[Pair], board: Scoreboard) -> list[str]:
    """Return what came of DLR's short PPO with steps for each pattern, beside O2O-RL's."""
    given = [p for p in pairs if p.recipe == DLR and _given_more(p)]
    recipes = {row.name: row.recipes for row in board.rows}
    first_time = {row.key: row.recipes.get(DLR) for row in board.rows}
    first_time |= {key: row for (key, recipe), row in board.before.items() if recipe == DLR}
    short = sum(row.result.short for row in first_time.values() if row)
    full = sum(not pair.second.result.short for pair in given)
    found = {
        pair.name: tuple(r.figure(_ENTROPY) for r in (pair.first, pair.second, baseline))
        for pair in given
        if (baseline := recipes[pair.name].get(BASELINE))
    }
    known = {name: each for name, each in found.items() if not any(map(math.isnan, each))}
    if not known:
        return []
    first, second, other = map(statistics.fmean, zip(*known.values(), strict=True))
    lost = {name: each[0] - each[1] for name, each in known.items()}
    worst = max(lost, key=lambda name: lost[name])
    return [
        f"{len(given)} of the {short} trainings of {DLR} that ended with a short PPO were done "
        f"again with its steps for each pattern, as the settings have them now; {full} of these "
        f"had a full PPO, for their clones were weaker the second time. {_outcome(given)}; "
        f"mode entropy {first:.2f}, again {second:.2f}, "
        f"{other:.2f} for {BASELINE} on these tasks. PPO took more than {_LOST} "
        f"on {sum(one > _LOST for one in lost.values())}, most on `{worst}`: "
        f"{known[worst][0]:.2f}, again {known[worst][1]:.2f}."
    ]


def _outcome(pairs: Sequence[Pair]) -> str:
    """Return what PPO did the second time, and success before and after, as a clause."""
    first, second = (_mean(side) for side in zip(*_sides(pairs), strict=True))
    updates = statistics.median(pair.second.result.updates or 0 for pair in pairs)
    return f"PPO made {updates:g} updates in the median: success {first:.1%}, again {second:.1%}"


def _sides(pairs: Sequence[Pair]) -> list[tuple[RecipeRow, RecipeRow]]:
    return [(pair.first, pair.second) for pair in pairs]


def _given_more(pair: Pair) -> bool:
    """Return whether a short PPO had its steps for each pattern the second time alone."""
    return pair.first.result.short_steps_shared and not pair.second.result.short_steps_shared


def _mean(rows: Sequence[RecipeRow]) -> float:
    return statistics.fmean(row.mean for row in rows)


def _rates(row: RecipeRow) -> str:
    return ", ".join(f"{count.rate:.0%}" for count in row.success())


def _entropy(row: RecipeRow) -> str:
    return number(row.figure(_ENTROPY), ".2f")


def _updates(row: RecipeRow) -> str:
    made = row.result.updates
    return NONE if made is None else str(made)


_CELLS: tuple[Callable[[RecipeRow], str], ...] = (_rates, ways, _entropy, _updates)


def _same_stages(a: StageResult | None, b: StageResult | None) -> bool:
    """Return whether two stages have the same success, collection and figures."""
    if a is None or b is None:
        return a is b
    same = list(a.success) == list(b.success) and list(a.collected) == list(b.collected)
    return same and _same_measures(a.measured, b.measured)


def _same_measures(a: Measured | None, b: Measured | None) -> bool:
    """Return whether two sources have the same episodes, as far as their figures tell."""
    if a is None or b is None:
        return a is b
    same = (a.episodes, dict(a.ways)) == (b.episodes, dict(b.ways))
    return same and _close(a.figures, b.figures)


def _close(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    if a.keys() != b.keys():
        return False
    return all(math.isclose(a[key], b[key], rel_tol=_CLOSE, abs_tol=_CLOSE) for key in a)
