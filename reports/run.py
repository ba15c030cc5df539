"""The report of a run: tables on the terminal, one self-contained HTML page, one JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from common.files import write_text
from reports.run_outcomes import (
    TaskOutcome,
    analyse,
)
from reports.run_page import to_html
from reports.run_tables import (
    plain,
    print_tables,
    to_json,
)


def write_report(
    results: Sequence[TaskOutcome],
    folder: Path,
    console: Console | None = None,
    title: str = "Discover, Learn, Reinforce",
) -> tuple[Path, Path]:
    """Print the tables and write `report.html` and `report.json`, each atomically.

    Returns:
        The paths of the two files.

    Raises:
        ValueError: there is no result.
        OutputError: the folder cannot be written to.
    """
    if not results:
        raise ValueError("a report needs the result of one task at least")
    analyses = [analyse(result) for result in results]
    print_tables(analyses, console or Console())
    numbers = json.dumps(
        to_json(analyses), indent=2, allow_nan=False, default=plain, ensure_ascii=False
    )
    page = to_html(analyses, title)
    html, data = folder / "report.html", folder / "report.json"
    write_text(data, numbers + "\n")
    write_text(html, page)
    return html, data
