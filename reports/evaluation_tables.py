"""Evaluations and comparisons as tables on the terminal, and their numbers as text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eval_harness.compare import Comparison, Contrast
from eval_harness.published.figures import Agreed, Figure, PublishedComparison
from eval_harness.seeds import seeds_text, starts_text

NONE = "–"
"""Stands where there is no number."""
_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")
"""A hash, of which twelve digits tell it from others."""
NARROWEST_NAME = 24
"""Characters that names of rows need beside their numbers."""


@dataclass(frozen=True)
class Row:
    """A row of a table on the terminal."""

    name: str
    """What it is about."""
    cells: tuple[str, ...]
    """Its numbers."""
    is_sum: bool = False
    """Whether it sums up the rows below it."""


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Print success per task, per suite and in all, of `results.summarise`."""
    policy, protocol = policy_name(summary["policy"]), protocol_name(summary)
    console.print(Text(f"{policy}, protocol {protocol}, assets {summary['assets']['name']}"))
    shown = list(rows(summary))
    whole = summary["complete"]
    headings = ("success", "interval", *(() if whole else ("ended", "errors", "missing")))
    cells = []
    for kind, name, entry in shown:
        counts = f"{entry['done']}/{entry['planned']}", str(entry["errors"]), str(entry["missing"])
        found = (*rate_texts(entry), *(() if whole else counts))
        cells.append(_row(kind == "task", name, found))
    print_table("Success, 95% intervals", headings, cells, console)
    if summary["starts"]:
        console.print(Text(starts_text(summary["starts"])))
    if summary["seeds"]:
        console.print(Text(seeds_text(summary["seeds"])))
    for error, count in summary["errors"].items():
        console.print(Text(f"{count} error(s): {error}", style="red"))


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a comparison; what makes it unfair comes first, in a colour of its own."""
    for warning in comparison.warnings:
        console.print(Text(f"WARNING: not the same {warning}", style="bold red"))
    folders = comparison.baseline.folder, comparison.evaluated.folder
    console.print(Text("baseline:  {}\nevaluated: {}".format(*folders)), soft_wrap=True)
    headings = (
        *("baseline", "evaluated", "difference", "interval"),
        *("only baseline", "only evaluated", "p"),
    )
    cells = [_row(c.of_task, c.name, contrast_texts(c)) for c in comparison.contrasts]
    print_table("Success on shared episodes", headings, cells, console)
    for note in notes(comparison):
        console.print(Text(note))


def print_figures(figures: Sequence[Figure], console: Console) -> None:
    """Print published and rerun success with protocol and source, a paragraph a figure."""
    for figure in figures:
        rates = [f"{suite} {percent:g}%" for suite, percent in figure.suites.items()]
        rates += [] if figure.average is None else [f"average {figure.average:g}%"]
        head = f"{figure.model}  {figure.kind} by {figure.by}, {figure.benchmark}"
        count = f"{figure.rollouts} rollouts" if figure.rollouts else "rollouts not stated"
        protocol = f"protocol {figure.protocol or 'not stated'}"
        console.print(Text("\n".join(_broken([head], "", console.width)), style="bold"))
        details = list(filter(None, (protocol, count, figure.note)))
        for parts, joint in ((rates, ","), (details, ";"), (figure.source.split("; "), ";")):
            console.print(Text("\n".join(_broken(parts, joint, console.width, "  "))))


def _broken(parts: Sequence[str], joint: str, width: int, indent: str = "") -> list[str]:
    """Return lines of parts, broken between two of them, and within one that fills a line alone."""
    lines: list[str] = []
    for part in (*(f"{one}{joint}" for one in parts[:-1]), parts[-1]):
        longer = f"{lines[-1]} {part}" if lines else indent + part
        if lines and len(longer) <= width:
            lines[-1] = longer
        else:
            lines += textwrap.wrap(
                part,
                max(width, 20),
                initial_indent=indent,
                subsequent_indent=indent + "  ",
                break_on_hyphens=False,
                break_long_words=False,
            )
    return lines


def print_published(found: PublishedComparison, console: Console) -> None:
    """Print a run beside what is published of a checkpoint."""
    texts = published_texts(found)
    if texts["rows"]:
        rows = [Row(name, tuple(cells)) for name, *cells in texts["rows"]]
        print_table(texts["title"], texts["headings"], rows, console)
    for sentence in texts["notes"]:
        console.print(Text(sentence))


def published_texts(found: PublishedComparison) -> dict[str, Any]:
    """Return title, headings, rows (each a suite and its cells) and notes, as text."""
    note = f" ({found.figure.note})" if found.figure.note else ""
    return {
        "title": f"Beside the published success of {found.figure.model}",
        "headings": ("published", "interval", "this run", "difference", ""),
        "rows": [[row.suite, *_agreed_texts(row)] for row in found.rows],
        "notes": [*found.warnings, f"Source: {found.figure.source}{note}."],
    }


def _agreed_texts(row: Agreed) -> list[str]:
    """Return the published rate, its interval, the run's, their difference and a word, as text."""
    published = f"{row.published:.1%}", f"{row.published_low:.1%} to {row.published_high:.1%}"
    rate = NONE if row.rate is None else f"{row.rate:.1%}"
    if row.low is None or row.high is None:
        return [*published, rate, NONE, row.agreement]
    return [*published, rate, f"{points(row.low)} to {points(row.high)}", row.agreement]


def print_table(title: str, headings: Sequence[str], rows: Sequence[Row], console: Console) -> None:
    """Print rows of a name and numbers; where names would be narrow, each has a line of its own.

    Args:
        title: stands above.
        headings: of the numbers; two words may stand one below the other.
        rows: name, numbers, and whether the row sums up others.
        console: to print to.
    """
    widths = [
        max([0, *map(len, heading.split()), *(len(row.cells[i]) for row in rows)])
        for i, heading in enumerate(headings)
    ]
    if console.width - sum(widths) - 2 * len(widths) - 2 < NARROWEST_NAME:
        _print_lines(title, headings, widths, rows, console)
        return
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", overflow="fold")
    for heading, width in zip(headings, widths, strict=True):
        table.add_column(heading, justify="right", min_width=width, vertical="bottom")
    for row in rows:
        table.add_row(Text(row.name), *map(Text, row.cells), style="bold" if row.is_sum else "")
    console.print(table)


def _print_lines(
    title: str,
    headings: Sequence[str],
    widths: Sequence[int],
    rows: Sequence[Row],
    console: Console,
) -> None:
    """Print each row as two lines: its name, and its numbers below the headings."""

    def line(cells: Iterable[str]) -> str:
        return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))

    console.print(Text(title, style="italic"))
    words = [heading.split() for heading in headings]
    for left in range(max(map(len, words)), 0, -1):
        heads = (found[-left] if left <= len(found) else "" for found in words)
        console.print(Text(line(heads), style="bold"))
    for row in rows:
        style = "bold" if row.is_sum else ""
        console.print(Text(row.name, style=style))
        console.print(Text(line(row.cells), style=style))
    console.print()


def _row(of_task: bool, name: str, cells: Sequence[str]) -> Row:
    """Return a row; a task's stands below its suite's, whose name it need not repeat."""
    shown = name.split("/", 1)[-1].replace("_", " ") if of_task else name
    return Row(shown, tuple(cells), not of_task)


def rows(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield (kind, name, entry): all, then each suite followed by its tasks.

    The row of all is left out where there is one suite.
    """
    if len(summary["suites"]) > 1:
        yield "all", "all", summary["all"]
    for suite, entry in summary["suites"].items():
        yield "suite", suite, entry
        for task, found in summary["tasks"].items():
            if task.startswith(f"{suite}/"):
                yield "task", task, found


def rate_texts(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return "94.0% (47/50)" and "84% to 98%"; without complete data, that, and nothing."""
    if entry["rate"] is None:
        return "incomplete", ""
    counts = f"({entry['successes']}/{entry['done']})"
    return f"{entry['rate']:.1%} {counts}", f"{entry['low']:.0%} to {entry['high']:.0%}"


def contrast_texts(contrast: Contrast) -> list[str]:
    """Return both rates, difference, its interval, both discordant counts and p, as text."""
    if contrast.difference is None or contrast.test is None:
        missing = f"{contrast.planned - contrast.pairs}/{contrast.planned} missing"
        return [NONE, NONE, "incomplete", missing, NONE, NONE, NONE]
    difference, test = contrast.difference, contrast.test
    return [
        f"{contrast.baseline_successes / contrast.pairs:.1%}",
        f"{contrast.evaluated_successes / contrast.pairs:.1%}",
        points(difference.value),
        f"{points(difference.low)} to {points(difference.high)}",
        str(test.only_baseline),
        str(test.only_evaluated),
        p_text(test.p_value),
    ]


def notes(comparison: Comparison) -> list[str]:
    """Return what the reader of a comparison's numbers should know, in sentences."""
    seeds = []
    if isinstance(comparison.baseline.config["seed"], list):
        seeds.append("Of several seeds: starts are drawn, and p is of a sign-flip test of starts.")
    return [
        *comparison.notes,
        "The difference is the evaluated policy's success less the baseline's, in percentage "
        f"points, the mean over tasks, with {comparison.confidence:.0%} paired-bootstrap "
        "intervals. p: McNemar's exact test on the episodes at which just one succeeds, "
        "two-sided, not adjusted for the number of tasks.",
        *seeds,
    ]


def points(value: float) -> str:
    """Return a difference of rates as signed percentage points."""
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def p_text(p: float) -> str:
    """Return a p value, a very small one as a bound."""
    return "<0.0001" if p < 1e-4 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def policy_name(policy: Mapping[str, Any]) -> str:
    """Return a policy's identity in a few words: its kind, and the first texts beside it."""
    kind, inner = str(policy.get("kind", "policy")), policy.get("policy")
    if isinstance(inner, Mapping):
        return f"{policy_name(inner)}, served by {kind}"
    texts = [value for key, value in policy.items() if key != "kind" and isinstance(value, str)]
    texts.sort(key=lambda text: _HASH.search(text) is not None)
    return " ".join([kind, *(_HASH.sub(r"\1", text) for text in texts[:2])])


def protocol_name(summary: Mapping[str, Any]) -> str:
    """Return a protocol's name with the start of its digest."""
    return f"{summary['protocol']} ({summary['protocol_digest'][:12]})"
