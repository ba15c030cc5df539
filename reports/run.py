"""The report of a run: tables on the terminal, one self-contained HTML page, one JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from analysis.poses import SPACES
from common.files import write_text
from reports.run_outcomes import Analysis, TaskOutcome, analyse
from reports.run_page import to_html
from reports.run_sources import over_tasks, source_tables, task_test_table
from reports.run_tables import diversity_table, further_table, plain, success_table, task_json


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


def to_json(analyses: Sequence[Analysis]) -> dict[str, Any]:
    """Return every number of the report."""
    return {
        "format": 2,
        "tasks": [task_json(analysis) for analysis in analyses],
        "over_tasks": {test.key: asdict(test) for test in over_tasks(analyses)},
    }


def print_tables(analyses: Sequence[Analysis], console: Console) -> None:
    """Print, per task, success per pattern, recipes compared, and what each source is like."""
    for analysis in analyses:
        result = analysis.result
        console.print(Text(f"\n{result.language} ({result.task})", style="bold"))
        console.print(success_table(result))
        console.print(Text(analysis.note))
        for space in SPACES if analysis.contrasts else ():
            console.print(diversity_table(analysis, space))
        for space in SPACES if analysis.further else ():
            console.print(further_table(analysis, space))
        for table in source_tables(analysis.profiles):
            console.print(table)
    if tests := over_tasks(analyses):
        console.print(task_test_table(tests))
