"""The page of retained success: of one policy's report, or of many policies beside one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from eval_harness.perturbations.retained import Retained
from eval_harness.results import summarise
from eval_harness.sequential.stopped import stop_text
from reports.evaluation_tables import NONE, policy_name, rate_texts
from reports.pages import data_uri, render, sorting_script, sorting_style
from reports.robustness.curves import arms_of, axis_panels
from reports.robustness.entries import Entry, Group, condition_text, differences
from reports.robustness.lost import LostScene
from reports.robustness.table import notes, retained_texts
from simulation.assets.embedded import PACK_NAME
from simulation.tasks import get_task

Cell = dict[str, Any]


def to_html(groups: Sequence[Group], scenes: Sequence[LostScene] = (), single: bool = False) -> str:
    """Return the page.

    Args:
        groups: results, those that can be compared together.
        scenes: videos of episodes that fail where their control succeeds.
        single: whether it is the report of one policy rather than a board of several.
    """
    script, digest = sorting_script()
    entries = [entry for group in groups for entry in group.entries]
    arms = [arm for entry in entries for arm in arms_of(entry)]
    return render(
        "reports.robustness",
        "template.html",
        title=policy_name(entries[0].results.config["policy"]) if single else "Policies on LIBERO",
        single=single,
        controls_style=sorting_style(),
        script=script,
        script_digest=digest,
        policies=[(_tag(entry), entry.title) for entry in entries],
        axes=list(dict.fromkeys(arm.axes for arm in arms)),
        levels=sorted({arm.level for arm in arms}),
        apart=_apart(groups),
        groups=[_group(group, number, scenes) for number, group in enumerate(groups, 1)],
        perturbed=bool(arms),
    )


def _apart(groups: Sequence[Group]) -> list[str]:
    """Return why the groups are groups of their own, in sentences."""
    return [
        f"Group {number} cannot be compared with group 1: they differ in "
        f"{'; '.join(differences(groups[0], group))}."
        for number, group in enumerate(groups[1:], 2)
    ]


def _group(group: Group, number: int, scenes: Sequence[LostScene]) -> dict[str, Any]:
    """Return what the template shows of entries that can be compared."""
    config, condition = group.config, condition_text(group.config)
    simulator = ", ".join(f"{name} {version}" for name, version in config["simulator"].items())
    facts = [
        ("Protocol", f"{config['protocol']['name']}, digest {config['protocol_digest'][:16]}"),
        *([("Everything is under", condition)] if condition != "unperturbed" else ()),
        ("Assets", f"{config['assets']['name']}, digest {config['assets']['digest'][:16]}"),
        ("Simulator", simulator),
        *([("Starts", "of recordings")] if config.get("starts") else ()),
    ]
    boards = [_board(board, f"g{number}b{i}") for i, board in enumerate(group.boards)]
    mine = [scene for entry in group.entries for scene in scenes if scene.entry is entry]
    return {
        "number": number,
        "name": f"{config['protocol']['name']}, {config['assets']['name']} assets",
        "facts": facts,
        "alerts": list(_alerts(group)),
        "suites": _suites(group),
        "boards": boards,
        "videos": [_video(scene) for scene in mine],
        "lost": sum(len(entry.lost(name)) for entry in group.entries for name in entry.arms),
    }


def _alerts(group: Group) -> Iterator[str]:
    """Yield what a reader must know before the numbers, in sentences."""
    for entry in group.entries:
        summary = summarise(entry.results)
        if text := stop_text(entry.results, entry.stop):
            yield f"{entry.title}: {text}"
        if not summary["complete"]:
            found = summary["all"]
            yield (
                f"{entry.title} is incomplete: of {found['planned']} planned episodes "
                f"{found['missing']} are missing and {found['errors']} are errors. A rate is given "
                "only where every planned episode has ended."
            )
        unfinished = [arm.name for arm in arms_of(entry) if arm.verdict == "incomplete"]
        if unfinished:
            yield f"{entry.title} lacks episodes of {', '.join(unfinished)}."
    if group.config["assets"]["name"] == PACK_NAME:
        yield (
            "Simulated with the embedded stand-in assets, not LIBERO's own: these rates compare "
            "policies with one another, not with published ones."
        )


def _tag(entry: Entry) -> str:
    """Return a word without spaces that stands for an entry among the page's filters."""
    return entry.title.replace(" ", "_")


def _named(entry: Entry) -> dict[str, Any]:
    """Return what a row, or a video, is filtered by, and what it is called."""
    name = policy_name(entry.results.config["policy"])
    return {
        "policy": _tag(entry),
        "title": entry.title,
        "key": f"{name}, seed {entry.results.config['seed']}",
        "words": f"{entry.title} {name}",
    }


def _suites(group: Group) -> dict[str, Any]:
    """Return the table of unperturbed success: a row an entry, a column a suite of equal tasks."""
    columns: dict[tuple[str, tuple[str, ...]], None] = {}
    found = []
    for entry in group.entries:
        cells = {}
        for suite, figures in summarise(entry.results)["suites"].items():
            tasks = tuple(task for task in entry.tasks if task.startswith(f"{suite}/"))
            columns[suite, tasks] = None
            cells[suite, tasks] = figures
        found.append((entry, cells))
    return {
        "columns": [(suite, _counted(len(tasks), "task")) for suite, tasks in columns],
        "rows": [
            {**_named(entry), "cells": [_rate(cells.get(column)) for column in columns]}
            for entry, cells in found
        ],
    }


def _rate(entry: Any) -> Cell:
    """Return a rate with its interval and its bar; empty where there is none."""
    if entry is None:
        return {"value": "", "text": NONE, "interval": "", "bar": None}
    rate, interval = rate_texts(entry)
    known = entry["rate"] is not None
    return {
        "value": f"{entry['rate']:.6f}" if known else "",
        "text": rate,
        "interval": interval,
        "bar": [100 * entry[key] for key in ("low", "rate", "high")] if known else None,
    }


def _board(entries: Sequence[Entry], prefix: str) -> dict[str, Any]:
    """Return the tables and curves of entries under perturbation that share their tasks."""
    arms = [arm for entry in entries for arm in arms_of(entry)]
    levels = sorted({arm.level for arm in arms})
    robust = [entry.robustness for entry in entries if entry.robustness is not None]
    return {
        "tasks": _tasks_text(entries[0].tasks),
        "levels": levels,
        "rows": [row for entry in entries for row in _rows(entry, levels)],
        "panels": [
            {"axis": axis, "svg": panel.svg, "alt": panel.alt}
            for axis, panel in axis_panels(entries, prefix)
        ],
        "arms": [_arm(entry, arm) for entry in entries for arm in arms_of(entry)],
        "notes": list(dict.fromkeys(note for found in robust for note in notes(found))),
    }


def _arm(entry: Entry, arm: Retained) -> dict[str, Any]:
    """Return a row with all numbers of one condition."""
    return {
        **_named(entry),
        "axis": arm.axes,
        "level": arm.level,
        "pairs": f"{arm.pairs}/{arm.planned}",
        "cells": retained_texts(arm),
        "values": _values(arm),
    }


def _rows(entry: Entry, levels: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield a row for each axis: the control's success, and what is kept of it at each level."""
    control = _rate(summarise(entry.results)["all"])
    of_axis: dict[str, dict[int, Retained]] = {}
    for arm in arms_of(entry):
        of_axis.setdefault(arm.axes, {})[arm.level] = arm
    for axis, arms in of_axis.items():
        yield {
            **_named(entry),
            "axis": axis,
            "control": control,
            "cells": [_kept(arms.get(level)) for level in levels],
        }


def _kept(arm: Retained | None) -> Cell:
    """Return the share that one arm keeps, its interval, its bar and what it says."""
    if arm is None:
        return {"value": "", "text": "", "interval": "", "bar": None, "verdict": ""}
    share = arm.share_kept
    if share is None:
        return {"value": "", "text": NONE, "interval": "", "bar": None, "verdict": arm.verdict}
    kept, low, high = share
    return {
        "value": f"{kept:.6f}",
        "text": f"{kept:.0%}",
        "interval": f"{low:.0%} to {high:.0%}",
        "bar": [100 * low, 100 * kept, 100 * high],
        "verdict": arm.verdict,
    }


def _values(arm: Retained) -> list[str]:
    """Return what the cells of `retained_texts` are sorted by."""
    if arm.difference is None or arm.adjusted is None:
        return ["", "", "", "", arm.verdict]
    kept = arm.share_kept
    numbers = (arm.successes / arm.pairs, kept and kept[0], arm.difference.value, arm.adjusted)
    return [*("" if number is None else f"{number:.6g}" for number in numbers), arm.verdict]


def _tasks_text(tasks: Sequence[str]) -> str:
    """Return which tasks these are, in words."""
    if len(tasks) == 1:
        return get_task(tasks[0]).language
    suites = dict.fromkeys(task.split("/")[0] for task in tasks)
    return ", ".join(
        f"{_counted(sum(t.startswith(f'{suite}/') for t in tasks), 'task')} of {suite}"
        for suite in suites
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _video(lost: LostScene) -> dict[str, Any]:
    """Return a video with its words."""
    (control, failed), clip = lost.scene.episodes, lost.scene.clip
    start = f", init state {control.init_index}" if control.init_index >= 0 else ""
    return {
        **_named(lost.entry),
        "axis": lost.arm.axes,
        "level": lost.arm.level,
        "video": data_uri("video/mp4", clip.mp4),
        "poster": data_uri("image/jpeg", clip.poster),
        "width": clip.width,
        "height": clip.height,
        "task": get_task(control.task).language,
        "where": f"Episode {control.episode}{start}, seed {control.seed}",
        "outcome": f"control: success after {control.steps} steps; {lost.arm.axes} "
        f"{lost.arm.level}: failure after {failed.steps}",
    }
