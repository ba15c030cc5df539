"""What became of each of people's demonstrations: a small file beside those that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from common.errors import DemonstrationError
from common.files import files_below
from common.json_files import build, read_sealed, write_sealed

SUFFIX = ".audit.json"
"""Ending of an audit beside a file of demonstrations."""
LEFT_OUT = "left out"
"""Of a demonstration that was not kept."""
KEPT = {
    "filtered": "succeed without their no-ops, which were dropped",
    "replayed": "succeed as they were recorded; nothing was dropped",
    "unfiltered": "succeed only with their no-ops, which stay",
    "recorded": "do not succeed when replayed; the recorded states do, and are kept",
    LEFT_OUT: "do not succeed when replayed, nor does the goal hold in recorded states",
}
"""How a demonstration was kept, if it was -> what that means."""
_REMEDY = "`dlr demonstrate` writes it again"


@dataclass(frozen=True)
class Row:
    """One demonstration."""

    source: str
    """The file's name."""
    index: int
    """Which of the file's demonstrations, from 0."""
    recorded: int
    """Steps as recorded."""
    noops: int
    """Of these, no-ops."""
    dropped: int
    """No-ops that the kept episode left out."""
    steps: int
    """Steps of the kept episode, which ends at success; 0 if none is kept."""
    kept: str
    """How it was kept: one of `KEPT`."""


@dataclass(frozen=True)
class Audit:
    """A task's demonstrations by people."""

    task: str
    """The task, as `suite/name`."""
    assets: str
    """Name of the asset pack that they were replayed with."""
    drop_noops: bool
    """Whether no-ops were to be dropped."""
    rows: Sequence[Row]
    """The demonstrations that were read, in their order."""
    unread: Sequence[str]
    """Why files could not be read, a line each."""

    def count(self, kept: str) -> int:
        """Return how many were kept in a way."""
        return sum(row.kept == kept for row in self.rows)

    def lines(self) -> list[str]:
        """Return a table to print: how many were kept how, which are exceptions, and steps."""
        left, total = self.count(LEFT_OUT), len(self.rows)
        found = [f"{self.task} ({self.assets}): {total - left} of {total} demonstrations kept"]
        for kept, meaning in KEPT.items():
            rows = [row for row in self.rows if row.kept == kept]
            if rows:
                which = "" if kept in ("filtered", "replayed") else f": {_which(rows)}"
                found.append(f"  {kept:<10} {len(rows):>3}  {meaning}{which}")
        steps, dropped = sum(row.steps for row in self.rows), sum(r.dropped for r in self.rows)
        noops, recorded = sum(row.noops for row in self.rows), sum(r.recorded for r in self.rows)
        found.append(
            f"  steps: {recorded:,} recorded, {noops:,} of them no-ops; up to success {steps:,} "
            f"were kept and {dropped:,} no-ops dropped"
        )
        return found + [f"  not read: {fault}" for fault in self.unread]


def audit_path(path: Path) -> Path:
    """Return where the audit of a file of demonstrations lies."""
    return path.with_suffix(SUFFIX)


def write_audit(path: Path, audit: Audit) -> None:
    """Write an audit, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    write_sealed(path, asdict(audit))


def read_audit(path: Path) -> Audit:
    """Read what `write_audit` wrote.

    Raises:
        DemonstrationError: it is missing, damaged, or no audit.
    """
    content = read_sealed(path, "an audit of demonstrations", DemonstrationError, _REMEDY)
    try:
        return _build(content)
    except (KeyError, TypeError, ValueError) as error:
        raise DemonstrationError(
            f"{path} is not an audit of demonstrations ({error}): {_REMEDY}"
        ) from error


def find_audits(path: Path) -> list[Path]:
    """Return an audit itself, or all below a folder, sorted.

    Raises:
        DemonstrationError: there is none.
    """
    found = [path]
    if path.is_dir():
        found = sorted(file for file in files_below(path) if file.name.endswith(SUFFIX))
    if not found:
        raise DemonstrationError(
            f"{path} has no audit: `dlr demonstrate --human-demos` writes one beside what it keeps"
        )
    return found


def _build(content: dict[str, Any]) -> Audit:
    if lacking := [field.name for field in fields(Audit) if field.name not in content]:
        raise ValueError(f"it has no {lacking[0]}")
    rows = tuple(build(Row, row) for row in content["rows"])
    return Audit(
        str(content["task"]),
        str(content["assets"]),
        bool(content["drop_noops"]),
        rows,
        tuple(map(str, content["unread"])),
    )


def _which(rows: Sequence[Row]) -> str:
    """Return the numbers of demonstrations, by file where there are several."""
    by_file: dict[str, list[str]] = {}
    for row in rows:
        by_file.setdefault(row.source, []).append(str(row.index))
    return "; ".join(
        f"{', '.join(numbers)}" + (f" of {source}" if len(by_file) > 1 else "")
        for source, numbers in by_file.items()
    )
