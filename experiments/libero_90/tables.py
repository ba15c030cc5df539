"""The scoreboard's tables and sentences, as text that both its pages show."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from analysis.diversity import TABLE_1, Metric, metric_key
from analysis.poses import SPACES
from demonstrations.config import DemonstrationConfig
from experiments.libero_90 import scale
from experiments.libero_90.scoreboard import (
    MARGIN,
    RECIPES,
    TARGET,
    WAY_SHARE,
    RecipeRow,
    Scoreboard,
)
from experiments.study import COLLECT, EPISODES_PER_WAY
from experiments.study_tests import (
    BASELINE,
    DLR,
    TEST_HEADS,
    TEST_NOTE,
    outcome_cells,
    run_tests,
    unmoved_text,
    where_moved,
)
from generator.config import GeneratorConfig
from reports.run_outcomes import Count

NONE = "–"
TITLE = "LIBERO-90"
INTRODUCTION = (
    "Both recipes on every task of LIBERO-90, seed 0, with the settings of the study unless the "
    "end of the page says otherwise: 40 scripted demonstrations of each way, beside one person's "
    "where that is said, LIBERO's own assets, "
    "success of 50 held-out episodes a pattern at one absolute action noise, metrics of up to 36 "
    "successes from the same starts. Rates have 95% Wilson intervals. Mode entropy is relative to "
    "the demonstrations': 1 where all of their modes are equally frequent, 0 where one is left. A "
    f"way is kept if {WAY_SHARE:.0%} of the episodes or more are recognised as it. Seed 0 alone: "
    "no claim of one task."
)
REPEAT = (
    "The same task run twice gives the same policies and episodes, bit for bit, however often it "
    "was killed, on processors of two makers, too: two of these tasks were run whole on an AMD "
    "EPYC and on an Intel Xeon, and no weight of a policy, no number of an episode and no figure "
    "differed; generate.md says what is pinned for it."
)


@dataclass(frozen=True)
class Table:
    """A titled table of texts, the first column of which names the rows."""

    title: str
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    before: Sequence[str] = ()
    """Paragraphs above it."""
    after: Sequence[str] = ()
    """Paragraphs below it."""
    commands: Sequence[str] = ()
    """Command lines below those."""


def totals(board: Scoreboard) -> list[str]:
    """Return what all tasks come to, a sentence each."""
    rows, hours = board.finished, board.core_hours
    failed = sum(bool(row.failures) for row in board.rows)
    lines = [
        f"{len(rows)} of {board.tasks} tasks finished with both recipes.",
        f"DLR: every pattern at {TARGET:.0%} or more on {sum(r.solved for r in rows)}; O2O-RL at "
        f"{TARGET:.0%} or more on {sum(r.recipes[BASELINE].least >= TARGET for r in rows)}.",
        f"DLR keeps two recognised ways or more on {sum(r.several_ways for r in rows)}, O2O-RL on "
        f"{sum((r.recipes[BASELINE].ways or (0, 0))[0] >= 2 for r in rows)}.",
    ]
    if hours:
        lines.append(
            f"{board.kept:,} successful episodes of final policies in {hours:.1f} CPU hours of "
            f"demonstrations, trainings and collections: {board.kept / hours:.0f} an hour of one "
            f"core. With measuring, start-up, what failed and whatever else the machine had to do, "
            f"wall clock {board.hours:.1f} h one after the other, {board.hours / 2:.1f} h with two "
            "at a time. What killed tries took is not in the wall clock, and in few results in the "
            "CPU hours."
        )
    people = sum(row.shown_by_people for row in rows)
    lines.append(f"Trained on a person's demonstration, too: {people} of the tasks.")
    return [*lines, f"Tasks in which something failed, see below: {failed}."]


def success(board: Scoreboard) -> Table:
    """Return success and ways, before and after."""
    heads = ["task"]
    for recipe in RECIPES:
        heads += [f"{recipe}: learn", f"{recipe}: end", f"{recipe}: ways"]
    rows = [
        [row.name, *(cell for r in RECIPES for cell in _success_cells(row.recipes.get(r)))]
        for row in board.rows
    ]
    note = "Success of each pattern; O2O-RL has none. Sorted by DLR's least pattern at the end."
    return Table("Success", heads, rows, [note])


def _success_cells(row: RecipeRow | None) -> list[str]:
    if row is None:
        return [NONE] * 3
    learned = ", ".join(f"{count.rate:.0%}" for count in row.success(learned=True)) or NONE
    return [learned, ", ".join(map(rate, row.success())) or NONE, ways(row)]


def cost(board: Scoreboard) -> Table:
    """Return mode entropy, environment steps and minutes."""
    heads = ["task"]
    for recipe in RECIPES:
        heads += [f"{recipe}: entropy", f"{recipe}: steps", f"{recipe}: minutes"]
    rows = [
        [row.name, *(cell for r in RECIPES for cell in _cost_cells(row.recipes.get(r)))]
        for row in board.rows
    ]
    note = (
        "Mode entropy after `learn` and at the end; environment steps of all stages, filtered "
        "cloning, PPO and evaluations; CPU minutes of training and collection, demonstrations "
        "apart."
    )
    return Table("Ways kept, and cost", heads, rows, [note])


def _cost_cells(row: RecipeRow | None) -> list[str]:
    if row is None:
        return [NONE] * 3
    minutes = f"{row.result.seconds / 60:.1f}"
    return [before_after(row, "mode_entropy", ".2f"), f"{row.steps:,.0f}", minutes]


def metrics(board: Scoreboard) -> Table:
    """Return the paper's metrics of both recipes on matched starts, metres and radians apart."""
    kinds = [(metric, space) for space in SPACES for metric in TABLE_1]
    heads = ["task", *(_metric_head(metric, space) for metric, space in kinds)]
    rows = []
    for row in board.finished:
        found = row.recipes[DLR].result.contrasts
        pairs = [found.get(metric_key(metric.key, space)) for metric, space in kinds]
        rows.append([row.name, *(NONE if p is None else f"{p[0]:.3g} → {p[1]:.3g}" for p in pairs)])
    note = (
        "O2O-RL → DLR at the end, on the starts that both solved; positions and rotations apart, "
        "each in its own unit."
    )
    return Table("The paper's metrics", heads, rows, [note])


def _metric_head(metric: Metric, space: str) -> str:
    unit = metric.units[space]
    return f"{metric.label.lower()}, {space}" + (f", {unit}" if unit else "")


QUALITY = (("episode_length", ".0f"), ("no_ops", ".3g"), ("mean_squared_jerk", ".3g"))
"""Figures of quality and how they are written."""


def quality(board: Scoreboard) -> Table:
    """Return how the episodes move, beside the demonstrations."""
    heads = ["task", *(f"{key.replace('_', ' ')}" for key, _ in QUALITY)]
    rows = []
    for row in board.finished:
        shown = row.recipes[DLR].result.demonstrations.figures
        cells = []
        for key, form in QUALITY:
            values = [shown.get(key, math.nan), *(row.recipes[r].figure(key) for r in RECIPES)]
            cells.append(" / ".join(number(value, form) for value in values))
        rows.append([row.name, *cells])
    note = "Demonstrations / DLR / O2O-RL at the end: steps, steps in which nothing moves, jerk."
    return Table("Quality", heads, rows, [note])


def tests(board: Scoreboard) -> Table:
    """Return the study's registered tests over these tasks, and non-inferior success."""
    found = run_tests(board.results)
    rows = [outcome_cells(test) for test in found]
    before = [] if found else ["No task has both recipes yet."]
    after = [TEST_NOTE] if found else []
    for name, baseline, candidate, p, tasks in board.success_tests():
        after.append(
            f"Success, {name}: O2O-RL {baseline:.1%}, DLR {candidate:.1%} over {tasks} tasks; that "
            f"DLR is worse by {MARGIN * 100:.0f} points or more has p = {p:.4f} (one-sided, sign "
            "flips of the differences raised by the margin)."
        )
    return Table("DLR against O2O-RL", TEST_HEADS if found else (), rows, before, after)


def moved(board: Scoreboard) -> Table:
    """Return how often PPO left a policy as it was, and the tests without such of DLR."""
    before = unmoved_text(board.results) or ["No training has told how many updates it made."]
    rows = [outcome_cells(test) for test in run_tests(where_moved(board.results))]
    return Table("Where PPO moved the policy", TEST_HEADS if rows else (), rows, before)


def failed(board: Scoreboard) -> Table:
    """Return what failed and why."""
    rows = [[r.name, one.what, one.why, one.commit] for r in board.rows for one in r.failures]
    if not rows:
        return Table("What failed", before=["Nothing."])
    return Table("What failed", ["task", "what", "why", "commit"], rows)


def weak(board: Scoreboard) -> Table:
    """Return the tasks that a recipe does not solve, with what is known of why."""
    rows = []
    for row in board.rows:
        for name, recipe in row.recipes.items():
            if recipe.success() and recipe.least < TARGET:
                before = min((c.rate for c in recipe.success(learned=True)), default=math.nan)
                shown = recipe.result.provenance.get("demonstrations", {})
                rows.append([
                    row.name, name, f"{number(before, '.0%')} → {recipe.least:.0%}",
                    recipe.stopped or NONE,
                    ", ".join(f"{way} {kept}" for way, kept in shown.items()) or NONE,
                ])  # fmt: skip
    heads = ["task", "recipe", "least pattern", "training ended", "demonstrations kept"]
    title = f"Below {TARGET:.0%}"
    return Table(title, heads, rows) if rows else Table(title, before=["None of what was run."])


def on_paper(board: Scoreboard) -> Table:
    """Return what the suite would take with more episodes, elsewhere."""
    costs, title = scale.Costs.of(board), "Scale on paper"
    if not costs.costs:
        return Table(title, before=["No finished task tells what episodes cost yet."])
    demonstrate, train, episode = costs.means()
    sums = "; ".join(f"{n:,}: {costs.core_hours(n):,.1f} core hours" for n in scale.EPISODES)
    rows = [
        [place.label, *(_hours(costs.estimate(place, n)) for n in scale.EPISODES)]
        for place in scale.PLACES
    ]
    before = [
        f"From {len(costs.costs)} finished tasks, on one core: a task's demonstrations take "
        f"{demonstrate:.0f} s, its two trainings {train:.0f} s, and an episode of both recipes, "
        f"failed attempts counted, {episode:.2f} s. So {board.tasks} tasks with N episodes of each "
        f"recipe take {board.tasks} × ({demonstrate:.0f} + {train:.0f} + N × {episode:.2f}) s: "
        f"{sums}. N is a multiple of the three patterns.",
        "Hours are the core hours by the number of cores, or those of the longest task where that "
        "is more: a training and its collection are one core's. Dollars are core hours times the "
        "price of a vCPU with its memory, no core idle. A vCPU is taken to be as fast as the core "
        "that measured. Pictures (`dlr build`), storage and traffic are not in it. "
        "The commands demonstrate by script alone; to mix people's demonstrations in, run the "
        "tasks that have some apart, with `--demonstrations.human-demos`.",
    ]
    prices = [
        f"{p.label}: {p.vcpu:g} a vCPU and {p.gigabyte:g} a GB, with {scale.MEMORY:g} GB together "
        f"{p.hour:.4f} an hour ({p.source})."
        for p in dict.fromkeys(place.price for place in scale.PLACES)
    ]
    heads = ["where", *(f"{n:,} episodes" for n in scale.EPISODES)]
    after = [f"Prices: {scale.PRICES}.", *prices]
    commands = [scale.command(place, scale.EPISODES[1]) for place in scale.PLACES]
    return Table(title, heads, rows, before, after, commands)


def _hours(found: scale.Estimate) -> str:
    return f"{found.hours:,.1f} h, ${found.dollars:,.0f}"


def datasets(board: Scoreboard) -> Table:
    """Return what was found in the datasets built of the episodes."""
    before = [
        "`python -m experiments.libero_90.dataset` makes a dataset of each recipe from a run's "
        "folder, simulates every episode of it again from its stored actions, and exports it as a "
        "LeRobotDataset v3. Cards, statistics and digests are in `results/datasets/libero_90`; the "
        "datasets themselves are too large for a repository."
    ]
    heads = [
        "dataset", "tasks", "episodes", "steps", "pictures", "RLDS", "LeRobot v3",
        "simulated again", "end as they say", "content sha256",
    ]  # fmt: skip
    rows = [
        [
            name, str(found.tasks), f"{found.episodes:,}", f"{found.steps:,}",
            f"{len(found.settings['cameras'])} of {found.settings['resolution']} px",
            f"{found.bytes / 1e9:.2f} GB", f"{found.lerobot_bytes / 1e9:.2f} GB",
            f"{found.replayed:,}", f"{found.succeeded:,}", found.content[:16],
        ]
        for name, found in board.datasets.items()
    ]  # fmt: skip
    return Table("Datasets", heads, rows, before if rows else ["None has been built yet."])


def provenance(board: Scoreboard) -> Table:
    """Return machines, packs, versions and commits."""
    facts: dict[str, Counter[str]] = defaultdict(Counter)
    for result in board.results:
        for name in ("assets", "commit", "machine", "versions"):
            if name in result.provenance:
                facts[name][_plain(result.provenance[name])] += 1
    rows = [[name, text, str(n)] for name, texts in facts.items() for text, n in texts.items()]
    return Table("Made with", ["what", "value", "results"], rows, [REPEAT])


def settings(board: Scoreboard) -> Table:
    """Return which trainings, demonstrations and collections had other settings than the study."""
    usual = _settings(
        asdict(GeneratorConfig()),
        asdict(DemonstrationConfig(EPISODES_PER_WAY, "scripted")),
        asdict(COLLECT),
        "libero",
    )
    tasks: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in board.rows:
        for name, recipe in row.recipes.items():
            facts = recipe.result.provenance
            config, shown, collect = (facts.get(n, {}) for n in ("config", "shown", "collect"))
            had = _settings(config, shown, collect, facts.get("assets", ""))
            other = [f"{key} {had[key]}" for key in usual if had.get(key, usual[key]) != usual[key]]
            if other:
                tasks[", ".join(other)][row.name].append(name)
    if not tasks:
        return Table("Other settings", before=["None had other settings."])
    rows = [
        [text, ", ".join(f"{name} ({' and '.join(recipes)})" for name, recipes in those.items())]
        for text, those in tasks.items()
    ]
    return Table("Other settings", ["settings", "tasks"], rows)


def _settings(
    config: Mapping[str, object],
    shown: Mapping[str, object],
    collect: Mapping[str, object],
    assets: str,
) -> dict[str, str]:
    """Return settings by name, as far as they are told; people's demonstrations are told apart."""
    own = {name: v for name, v in shown.items() if name not in ("human_demos", "recordings")}
    pack = {"assets": assets.split(" ")[0]} if assets else {}
    return _flat(config) | _flat(own, "demonstrations.") | _flat(collect, "collect.") | pack


def _flat(tree: Mapping[str, object], path: str = "") -> dict[str, str]:
    """Return a tree's leaves as text by their paths, the seed left out."""
    leaves: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= _flat(value, f"{path}{name}.")
        elif name != "seed":
            leaves[f"{path}{name}"] = str(list(value) if isinstance(value, tuple) else value)
    return leaves


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return str(value)


def rate(count: Count) -> str:
    """Return a rate with its interval."""
    low, high = count.interval
    return f"{count.rate:.0%} ({low * 100:.0f} to {high * 100:.0f})"


def ways(row: RecipeRow) -> str:
    """Return how many ways are kept of how many."""
    return f"{row.ways[0]} of {row.ways[1]}" if row.ways else NONE


def before_after(row: RecipeRow, key: str, form: str) -> str:
    """Return a figure after `learn` and at the end."""
    return " → ".join(number(row.figure(key, learned), form) for learned in (True, False))


def number(value: float, form: str) -> str:
    """Return a number, or a dash for NaN."""
    return NONE if math.isnan(value) else f"{value:{form}}"
