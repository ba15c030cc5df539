"""Evaluations and comparisons as tables on the terminal, and their numbers as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from eval_harness.compare import Comparison, Contrast

NONE = "–"
"""Stands where there is no number."""
_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")
"""A hash, of which twelve digits tell it from others."""


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Print success per task, per suite and in all, of `results.summarise`."""
    policy, protocol = policy_name(summary["policy"]), protocol_name(summary)
    console.print(Text(f"{policy}, protocol {protocol}, assets {summary['assets']['name']}"))
    headings = ("success", "interval", "ended", "errors", "missing")
    table = _table("Success, 95% Wilson intervals", headings)
    for kind, name, entry in rows(summary):
        rate, interval = rate_texts(entry)
        counts = f"{entry['done']}/{entry['planned']}", str(entry["errors"]), str(entry["missing"])
        _add_row(table, kind == "task", name, (rate, interval, *counts))
    console.print(table)
    for error, count in summary["errors"].items():
        console.print(Text(f"{count} error(s): {error}", style="red"))


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a comparison; what makes it unfair comes first, in a colour of its own."""
    for warning in comparison.warnings:
        console.print(Text(f"WARNING: not the same {warning}", style="bold red"))
    console.print(Text(f"A: {comparison.a.folder}\nB: {comparison.b.folder}"))
    headings = ("A", "B", "B - A", "interval", "only A", "only B", "p")
    table = _table("Success on shared episodes", headings)
    for contrast in comparison.contrasts:
        _add_row(table, contrast.of_task, contrast.name, contrast_texts(contrast))
    console.print(table)
    for note in notes(comparison):
        console.print(Text(note))


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", overflow="fold", ratio=1)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _add_row(table: Table, of_task: bool, name: str, cells: Sequence[str]) -> None:
    """Add a row; a task's stands below its suite's, whose name it need not repeat."""
    shown = name.split("/", 1)[-1].replace("_", " ") if of_task else name
    table.add_row(Text(shown), *map(Text, cells), style="" if of_task else "bold")


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
    """Return A, B, difference, its interval, both discordant counts and p, as text."""
    if contrast.difference is None or contrast.test is None:
        missing = f"{contrast.planned - contrast.pairs}/{contrast.planned} missing"
        return [NONE, NONE, "incomplete", missing, NONE, NONE, NONE]
    difference, test = contrast.difference, contrast.test
    return [
        f"{contrast.successes_a / contrast.pairs:.1%}",
        f"{contrast.successes_b / contrast.pairs:.1%}",
        points(difference.value),
        f"{points(difference.low)} to {points(difference.high)}",
        str(test.only_a),
        str(test.only_b),
        p_text(test.p_value),
    ]


def notes(comparison: Comparison) -> list[str]:
    """Return what the reader of a comparison's numbers should know, in sentences."""
    return [
        *comparison.notes,
        "B - A in percentage points, the mean over tasks, with "
        f"{comparison.confidence:.0%} paired-bootstrap intervals. p: McNemar's exact test on the "
        "episodes at which just one succeeds, two-sided, not adjusted for the number of tasks.",
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
