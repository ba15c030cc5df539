"""What became of people's demonstrations so far: kept beside the episodes of a file in the making.

A row of the audit is written once its episode is, so that a killed run replays neither a success
nor a failure again.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from common.errors import DemonstrationError
from common.json_files import build, read_sealed, write_sealed
from demonstrations.audit import LEFT_OUT, Row
from simulation.recordings.episode import Episode
from simulation.recordings.trajectories import TrajectoryWriter

_FIRST = 1_000_000
"""People's demonstrations follow the scripted ones in a file."""
_MOST = 1_000_000
"""More demonstrations than a file of recordings holds."""


class Replays:
    """The demonstrations that were replayed for a file, of which each has a number of its own.

    Args:
        writer: of the file; it takes the episodes.
    """

    def __init__(self, writer: TrajectoryWriter) -> None:
        self._writer = writer

    def find(self, file: int, index: int) -> Row | None:
        """Return what became of a demonstration; None where it is to be replayed.

        Args:
            file: which file of recordings, from 0.
            index: which of its demonstrations, from 0.
        """
        number = _number(file, index)
        path = self._path(number)
        if not path.exists():
            return None
        try:
            row = build(Row, read_sealed(path, "a row of an audit", DemonstrationError, ""))
        except (DemonstrationError, ValueError):
            return None  # (as a damaged episode is made anew)
        if row.kept == LEFT_OUT:
            self._writer.done.discard(number)
            return row
        return row if number in self._writer.done else None

    def keep(self, file: int, row: Row, episode: Episode | None) -> None:
        """Write what became of a demonstration, its success first if there is one.

        Raises:
            OutputError: it cannot be written.
        """
        number = _number(file, row.index)
        if episode is not None:
            self._writer.add(number, episode)
        else:
            self._writer.done.discard(number)
        write_sealed(self._path(number), asdict(row))

    def _path(self, number: int) -> Path:
        return self._writer.parts / f"person_{number:08d}.json"


def _number(file: int, index: int) -> int:
    return _FIRST + file * _MOST + index
