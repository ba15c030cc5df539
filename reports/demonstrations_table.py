"""The table of demonstrations: how often every way of every task succeeds, and what it is like."""

from __future__ import annotations

import io
import math
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from analysis.ways import Accuracy
from common.errors import DemonstrationError
from common.files import write_bytes, write_json, write_text
from common.intervals import wilson_interval
from demonstrations.measured import PACKS, SOURCES, SUFFICIENT, Measured, pack_label
from simulation.recordings.trajectories import TrajectoryFile
from simulation.tasks import SUITES, Task, list_tasks

_PEOPLE = "human"
_SIGHTS = ("positions", "yaw", "both")
_PICTURE_WIDTH = 640
_PICTURE_QUALITY = 55
_DISTINCT = 0.97
"""Share of episodes from which on ways are called distinct."""
_LINE = 110
"""Characters of a line of running text."""
_PACK_TITLES = {"libero": "LIBERO's own assets", "embedded": "the embedded pack"}


def write_table(records: Sequence[Measured], folder: Path) -> tuple[Path, Path]:
    """Write `demonstrations.md` and `demonstrations.json` into a folder; return their paths.

    The page links the pictures that `write_pictures` has put there.

    Raises:
        DemonstrationError: two records are of one task, pack and source.
        OutputError: a file cannot be written.
    """
    ordered = _ordered(records)
    table, entries = folder / "demonstrations.md", folder / "demonstrations.json"
    write_text(table, markdown(ordered, folder))
    write_json(entries, [entry(record) for record in ordered])
    return table, entries


def write_pictures(sheets: Path, folder: Path) -> list[Path]:
    """Write a small copy of each contact sheet that `dlr demos make --show` has drawn.

    Args:
        sheets: folder of trajectory files `SUITE/TASK.hdf5` with their sheets, `.png`.
        folder: where the page is; receives `demonstrations/PACK/SUITE/TASK.webp`.

    Returns:
        The pictures.

    Raises:
        DemonstrationError: there is no sheet of a task, or one is damaged.
        TrajectoryError: the file of a sheet is missing or damaged.
        OutputError: a picture cannot be written.
    """
    found = [(task, sheets / f"{task.key}.png") for task in list_tasks()]
    drawn = [(task, path) for task, path in found if path.exists()]
    if not drawn:
        raise DemonstrationError(
            f"{sheets} has no sheet SUITE/TASK.png: run `dlr demos make --show`"
        )
    written = []
    for task, path in drawn:
        try:
            with Image.open(path) as opened:
                sheet = opened.convert("RGB")
        except OSError as error:
            raise DemonstrationError(f"{path} is no picture ({error}): draw it again") from error
        sheet.thumbnail((_PICTURE_WIDTH, sheet.height))
        buffer = io.BytesIO()
        sheet.save(buffer, "WEBP", quality=_PICTURE_QUALITY, method=6)
        with TrajectoryFile(path.with_suffix(".hdf5")) as file:
            written.append(_picture(folder, pack_label(file.asset_pack), task))
        write_bytes(written[-1], buffer.getvalue())
    return written


def _picture(folder: Path, pack: str, task: Task) -> Path:
    return folder / "demonstrations" / pack / f"{task.key}.webp"


def entry(record: Measured) -> dict[str, Any]:
    """Return what `demonstrations.json` says of a record."""
    ways = [{"name": w.name, "tried": w.tried, "succeeded": w.succeeded} for w in record.ways]
    return {
        "task": record.task,
        "pack": record.pack,
        "source": record.source,
        "ways": ways,
        "seconds": round(record.seconds, 1),
    }


def markdown(records: Sequence[Measured], folder: Path) -> str:
    """Return the page: for each pack the totals by suite, then a row for each task.

    Args:
        records: what was measured.
        folder: where the page will be; tasks that have a picture there are linked with it.
    """
    lines = ["# Demonstrations", "", *_introduction(records)]
    tasks = list_tasks()
    for pack in PACKS:
        here = [record for record in records if record.pack == pack]
        if here:
            lines += ["", f"## With {_PACK_TITLES[pack]}", "", *_totals(here, tasks)]
            lines += ["", *_medians(here)]
            for suite in SUITES:
                lines += _suite(
                    suite, [task for task in tasks if task.suite == suite], here, folder
                )
    return "\n".join([*lines, "", *_provenance(records), ""])


def _ordered(records: Iterable[Measured]) -> list[Measured]:
    """Return records by pack, task and source, each in its table's order."""
    places = {task.key: place for place, task in enumerate(list_tasks())}
    found: dict[tuple[int, int, int], Measured] = {}
    for record in records:
        if record.task not in places:
            raise DemonstrationError(f"there is no task {record.task}: remove its record")
        place = (
            PACKS.index(record.pack),
            places[record.task],
            SOURCES.index(record.source),
        )
        if place in found:
            raise DemonstrationError(
                f"two records are of {record.task}, {record.pack}, {record.source}: remove one"
            )
        found[place] = record
    return [found[place] for place in sorted(found)]


def _introduction(records: Sequence[Measured]) -> list[str]:
    tried = statistics.mode(way.tried for record in records for way in record.ways)
    enough = math.ceil(tried * SUFFICIENT)
    low, high = wilson_interval(enough, tried)
    least = wilson_interval(tried, tried)[0]
    text = (
        "How often each way of each task succeeds, measured by `dlr demos measure`: half of the "
        "attempts begin at official init states, half at fresh starts. A way counts from "
        f"{SUFFICIENT:.0%} on; of {tried} attempts, {enough} successes are {low:.0%} to {high:.0%} "
        f"(Wilson, 95%) and {tried} are {least:.0%} to 100%. A task has as many ways as that "
        "source, other than people, which has most. They are told apart by a linear discriminant "
        "on episodes that it has not learnt from (`analysis/ways.py`): from the hand's positions "
        "alone, from its yaw alone, and from both. Steps are the control steps of a success, 20 a "
        "second, beside those of a person's demonstration where there is one. `dlr demos table` "
        "makes this page."
    )
    return textwrap.wrap(text, _LINE, break_long_words=False, break_on_hyphens=False)


def _totals(records: Sequence[Measured], tasks: Sequence[Task]) -> list[str]:
    """Return the table of how many tasks of each suite have one, two and three ways."""
    counting = _counting(records)
    lines = [
        "| suite | tasks | measured | 1 way or more | 2 or more | 3 or more |",
        "|---|---|---|---|---|---|",
    ]
    for suite in (*SUITES, "all"):
        keys = [task.key for task in tasks if suite in (task.suite, "all")]
        measured = [counting[key] for key in keys if key in counting]
        numbers = [sum(n >= least for n in measured) for least in (1, 2, 3)]
        cells = [suite, len(keys), len(measured), *numbers]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _counting(records: Sequence[Measured]) -> dict[str, int]:
    """Return, by task, the number of ways that count of the source that has most of them."""
    found: dict[str, int] = defaultdict(int)
    for record in records:
        if record.source != _PEOPLE:
            found[record.task] = max(found[record.task], record.counting)
    return found


def _medians(records: Sequence[Measured]) -> list[str]:
    """Return how distinct the ways are, and how long episodes are, on the median task."""
    lines = []
    for source in SOURCES:
        own = [record for record in records if record.source == source]
        judged = [record.distinctness for record in own if record.distinctness]
        if judged:
            shares = []
            for sight in _SIGHTS:
                rates = [getattr(apart, sight).rate for apart in judged]
                distinct = sum(rate >= _DISTINCT for rate in rates)
                median = statistics.median(rates)
                shares.append(f"{sight} {median:.0%} ({distinct} tasks at {_DISTINCT:.0%} or more)")
            lines.append(
                f"- `{source}`: ways told apart on the median of {len(judged)} tasks by "
                f"{', '.join(shares)}."
            )
        ratios = [r.mean_length / r.human_length for r in own if r.mean_length and r.human_length]
        if ratios:
            lines.append(
                f"- `{source}`: an episode is {statistics.median(ratios):.2f} times as long as a "
                f"person's on the median of {len(ratios)} tasks."
            )
    return lines


def _suite(
    suite: str, tasks: Sequence[Task], records: Sequence[Measured], folder: Path
) -> list[str]:
    """Return a suite's heading and table, or nothing where none of its tasks was measured."""
    by_task: dict[str, list[Measured]] = defaultdict(list)
    for record in records:
        by_task[record.task].append(record)
    rows = [_row(task, by_task[task.key], folder) for task in tasks if task.key in by_task]
    missing = [f"`{task.name}`" for task in tasks if task.key not in by_task]
    if not rows:
        return []
    lines = [
        f"\n### {suite}\n",
        "| task | source | ways | successes | steps (person's) | positions / yaw / both |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    return lines + ([f"\nNot measured: {', '.join(missing)}."] if missing else [])


def _row(task: Task, records: Sequence[Measured], folder: Path) -> str:
    columns = [
        [record.source for record in records],
        [str(record.counting) for record in records],
        [", ".join(f"{w.name} {w.succeeded}/{w.tried}" for w in r.ways) for r in records],
        [_steps(record) for record in records],
        [_told_apart(record) for record in records],
    ]
    name, picture = f"`{task.name}`", _picture(folder, records[0].pack, task)
    if picture.exists():
        name = f"[{name}]({picture.relative_to(folder).as_posix()})"
    return f"| {name} | {' | '.join('<br>'.join(column) for column in columns)} |"


def _steps(record: Measured) -> str:
    own = "-" if record.mean_length is None else f"{record.mean_length:.0f}"
    return own if record.human_length is None else f"{own} ({record.human_length})"


def _told_apart(record: Measured) -> str:
    if record.distinctness is None:
        return "-"
    parts: list[Accuracy] = [getattr(record.distinctness, sight) for sight in _SIGHTS]
    return " / ".join(f"{part.rate:.0%}" for part in parts) + f" of {parts[0].total}"


def _provenance(records: Sequence[Measured]) -> list[str]:
    """Return with what all was measured: seeds, assets, versions, machines."""
    seeds = sorted({record.seed for record in records})
    packs = sorted({f"{record.pack} {record.asset_digest[:12]}" for record in records})
    versions = {", ".join(f"{n} {v}" for n, v in sorted(r.versions.items())) for r in records}
    machines = {f"{r.machine.get('cpu')}, {r.machine.get('cores')} cores" for r in records}
    hours = sum(record.seconds for record in records) / 3600
    return [
        "## Measured with",
        "",
        f"- seed {', '.join(map(str, seeds))}; {len(records)} records, {hours:.1f} h in all",
        f"- assets: {'; '.join(packs)}",
        *(f"- {text}" for text in (*sorted(versions), *sorted(machines))),
    ]
