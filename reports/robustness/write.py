"""Writes the pages of retained success: a policy's report, and a board of many policies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from common.files import write_text
from eval_harness.results import ResultsError
from reports.robustness.entries import group_entries, load_entries
from reports.robustness.lost import draw_lost
from reports.robustness.page import to_html
from reports.robustness.table import write_retained
from reports.video import VideoSettings

PAGE = "report.html"


def write_report(
    folder: Path,
    out: Path | None = None,
    videos: VideoSettings | None = None,
    assets: Path | None = None,
    console: Console | None = None,
) -> tuple[Path, Path]:
    """Print the table of an evaluation under perturbation; write its page and its numbers.

    Args:
        folder: folder of its arms.
        out: folder to write to; by default `folder`.
        videos: how many lost episodes to draw, and how; None for no videos.
        assets: folder of assets to draw with; by default the one every command finds.
        console: to print to; by default standard output.

    Returns:
        The paths of the page and of the numbers.

    Raises:
        ResultsError: the folder has no control arm, or is damaged, or its arms cannot be paired.
        AssetError: videos are asked for, and the evaluation's assets are not at hand.
        OutputError: the folder cannot be written.
    """
    numbers = write_retained(folder, out, console)
    page = (out or folder) / PAGE
    _write(page, [folder], videos, assets, single=True)
    return page, numbers


def write_board(
    folders: Sequence[Path],
    page: Path,
    videos: VideoSettings | None = None,
    assets: Path | None = None,
) -> Path:
    """Write one page of many results and return its path.

    Args:
        folders: results folders, and folders of arms.
        page: file to write.
        videos: how many lost episodes to draw, and how; None for no videos.
        assets: folder of assets to draw with; by default the one every command finds.

    Raises:
        ResultsError, AssetError, OutputError: as for `write_report`, or no folder is given.
    """
    if not folders:
        raise ResultsError("name at least one results folder: `dlr eval board results/a results/b`")
    _write(page, folders, videos, assets, single=False)
    return page


def _write(
    page: Path,
    folders: Sequence[Path],
    videos: VideoSettings | None,
    assets: Path | None,
    single: bool,
) -> None:
    entries = load_entries(folders)
    scenes = [] if videos is None else draw_lost(entries, videos, assets)
    write_text(page, to_html(group_entries(entries), scenes, single))
