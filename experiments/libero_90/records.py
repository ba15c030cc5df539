"""Small sealed files beside a task's results: what failed and why, and how long each piece took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from common.json_files import read_sealed, write_sealed
from experiments.study_results import BESIDE, StudyError, result_path

FAILED, TIME = BESIDE
_REMEDY = "delete it and run `python -m experiments.libero_90` again"


@dataclass(frozen=True)
class Failure:
    """A piece of work that failed when it was last tried."""

    what: str
    """Such as `demonstrations` or `dlr seed 0`."""
    why: str
    """In words."""
    commit: str
    """Of the code."""


@dataclass(frozen=True)
class Times:
    """What a task took, all that was tried together."""

    seconds: Mapping[str, float]
    """Wall time of each piece of work, of tries that ended."""
    demonstrations: float
    """CPU seconds of its demonstrations."""


@dataclass(frozen=True)
class TaskRecord:
    """A task's folder among the results."""

    out: Path
    """Folder that holds SUITE/TASK."""
    task: str
    """The task's key."""

    def missing(self, recipes: Sequence[str], seed: int) -> list[str]:
        """Return the recipes that have no result."""
        paths = {recipe: self.out / result_path(self.task, recipe, seed) for recipe in recipes}
        return [recipe for recipe, path in paths.items() if not path.exists()]

    def failures(self) -> list[Failure]:
        """Return what failed when it was last tried.

        Raises:
            StudyError: the file is damaged.
        """
        path = self._path(FAILED)
        if not path.exists():
            return []
        content = read_sealed(path, "a record of failures", StudyError, _REMEDY)
        try:
            return [Failure(**one) for one in content["failures"]]
        except (KeyError, TypeError) as error:
            raise StudyError(f"{path} is no record of failures ({error}): {_REMEDY}") from error

    def times(self) -> Times:
        """Return what the pieces of work took.

        Raises:
            StudyError: the file is damaged.
        """
        path = self._path(TIME)
        if not path.exists():
            return Times({}, 0.0)
        content = read_sealed(path, "a record of times", StudyError, _REMEDY)
        try:
            seconds = {str(what): float(taken) for what, taken in content["seconds"].items()}
            return Times(seconds, float(content["demonstrations"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StudyError(f"{path} is no record of times ({error}): {_REMEDY}") from error

    def note(
        self, what: str, seconds: float, failure: Failure | None = None, demonstrations: float = 0.0
    ) -> None:
        """Add what a piece of work took, and keep or forget that it failed.

        Args:
            what: the piece.
            seconds: wall time.
            failure: why it failed, if it did.
            demonstrations: CPU seconds of demonstrating, of all tries, where it was that.

        Raises:
            OutputError: the folder cannot be written.
        """
        before, path = self.times(), self._path(TIME)
        taken = {**before.seconds, what: before.seconds.get(what, 0.0) + seconds}
        spent = demonstrations or before.demonstrations
        write_sealed(path, {"task": self.task, "seconds": taken, "demonstrations": spent})
        self._keep(what, failure)

    def _keep(self, what: str, failure: Failure | None) -> None:
        before = self.failures()
        after = [one for one in before if one.what != what] + ([failure] if failure else [])
        if after:
            content = {"task": self.task, "failures": [asdict(one) for one in after]}
            write_sealed(self._path(FAILED), content)
        elif before:
            self.forget()

    def forget(self) -> None:
        """Forget what failed."""
        self._path(FAILED).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.out / self.task / name
