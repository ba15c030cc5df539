"""Writes the scoreboard: a Markdown page, and beside it one for browsers that sorts and filters.

The latter is one file: pictures are data URIs, and its one script is named by its hash in the
page's content security policy, so that no other runs. Without scripts all of it can be read.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.files import write_text
from experiments.libero_90 import tables
from experiments.libero_90.again import done_again
from experiments.libero_90.pictures import SIZE, picture
from experiments.libero_90.scoreboard import RECIPES, TARGET, RecipeRow, Scoreboard, TaskRow
from experiments.libero_90.tables import Table
from reports.pages import data_uri, render, sorting_script, sorting_style

if TYPE_CHECKING:
    from simulation.assets.resolve import AssetPack

_LINE = 110
_COLUMNS = ("end", "learn", "ways", "entropy", "steps", "minutes")
"""What the page for browsers shows of each recipe."""


def write_scoreboard(
    board: Scoreboard, page_file: Path, assets: AssetPack | None, pictures: Path
) -> list[Path]:
    """Write both pages; return their paths.

    Args:
        board: what they show.
        page_file: the Markdown page; the other has its name with `.html`.
        assets: asset pack that pictures are drawn with; None for no pictures.
        pictures: folder in which those are kept.

    Raises:
        RenderError: pictures are wanted and nothing can be drawn here.
        OutputError: a folder cannot be written.
    """
    from simulation.tasks import get_task

    html_file = page_file.with_suffix(".html")
    write_text(page_file, markdown(board, html_file.name))
    shown = {row.key: picture(get_task(row.key), assets, pictures) for row in board.rows} if (
        assets
    ) else {}  # fmt: skip
    write_text(html_file, html(board, shown))
    return [page_file, html_file]


def markdown(board: Scoreboard, browsers: str = "libero_90.html") -> str:
    """Return the Markdown page.

    Args:
        board: what it shows.
        browsers: name of the page for browsers, beside this one.
    """
    command = "`python -m experiments.libero_90 --report` makes this page from `results/libero_90`"
    head = f"{tables.INTRODUCTION} {command} and [one that sorts and filters]({browsers})."
    parts = [
        f"# {tables.TITLE}",
        _wrap(head),
        "\n".join(_wrap(f"- {line}", "  ") for line in tables.totals(board)),
        *map(_section, (tables.success(board), tables.cost(board), *_others(board))),
    ]
    return "\n\n".join(parts) + "\n"


def html(board: Scoreboard, pictures: dict[str, bytes]) -> str:
    """Return the page for browsers.

    Args:
        board: what it shows.
        pictures: WebP by the task's key.
    """
    script, digest = sorting_script()
    return render(
        "experiments.libero_90",
        "template.html",
        title=tables.TITLE,
        introduction=tables.INTRODUCTION,
        totals=tables.totals(board),
        controls_style=sorting_style(),
        script=script,
        script_digest=digest,
        recipes=RECIPES,
        columns=_COLUMNS,
        size=SIZE,
        rows=[_row_view(row, pictures.get(row.key)) for row in board.rows],
        sections=_others(board),
    )


def _others(board: Scoreboard) -> Sequence[Table]:
    makers: Sequence[Callable[[Scoreboard], Table]] = (
        tables.metrics, tables.quality, tables.tests, tables.moved, tables.failed, tables.weak,
        tables.datasets, tables.on_paper, tables.settings, done_again, tables.provenance,
    )  # fmt: skip
    return [make(board) for make in makers]


def _row_view(row: TaskRow, shown: bytes | None) -> dict[str, Any]:
    """Return a task's row: cells of text and the number that they are sorted by."""
    cells = [cell for recipe in RECIPES for cell in _cells(row.recipes.get(recipe))]
    kinds = [name for name, holds in (
        ("solved", row.solved), ("weak", row.least < TARGET),
        ("few", row.finished and not row.several_ways), ("failed", bool(row.failures)),
    ) if holds]  # fmt: skip
    uri = data_uri("image/webp", shown) if shown else ""
    return {
        "name": row.name,
        "language": row.language,
        "picture": uri,
        "kinds": " ".join(kinds),
        "cells": cells,
        "failures": [f"{one.what}: {one.why}" for one in row.failures],
    }


def _cells(row: RecipeRow | None) -> list[tuple[str, str]]:
    """Return text and number of each of `_COLUMNS`; the number is empty where there is none."""
    if row is None:
        return [(tables.NONE, "")] * len(_COLUMNS)
    learned = row.success(learned=True)
    before = min((count.rate for count in learned), default=math.nan)
    entropy = row.figure("mode_entropy")
    return [
        ("\n".join(map(tables.rate, row.success())), _number(row.least)),
        ("\n".join(map(tables.rate, learned)) or tables.NONE, _number(before)),
        (tables.ways(row), _number(row.ways[0] if row.ways else math.nan)),
        (tables.before_after(row, "mode_entropy", ".2f"), _number(entropy)),
        (f"{row.steps:,.0f}", _number(row.steps)),
        (f"{row.result.seconds / 60:.1f}", _number(row.result.seconds)),
    ]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _section(table: Table) -> str:
    """Return a table with its title and paragraphs as Markdown."""
    parts = [f"## {table.title}", *map(_wrap, table.before)]
    if table.rows:
        lines = [table.heads, ["---"] * len(table.heads), *map(_named, table.rows)]
        parts.append("\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines))
    parts += map(_wrap, table.after)
    if table.commands:
        parts.append("\n".join(["```", *table.commands, "```"]))
    return "\n\n".join(parts)


def _named(cells: Sequence[str]) -> Iterable[str]:
    """Return cells of which the first is set as code if it is a task's name."""
    first, *others = cells
    return [f"`{first}`" if "_SCENE" in first else first, *others]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_wrap: Callable[..., str] = lambda text, indent="": "\n".join(  # noqa: E731
    textwrap.wrap(
        text, _LINE, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
)
