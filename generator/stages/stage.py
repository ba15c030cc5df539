"""What a stage is: keyed by what it reads, it keeps its result in a folder and runs once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from common.errors import CheckpointError, UsageError
from common.files import ensure_writable
from common.json_files import read_sealed, write_sealed
from common.locks import lock_file
from common.spent import spending
from common.workers.progress import tell
from generator.config import GeneratorConfig
from generator.context import Context


class Stage(Protocol):
    """One step of a recipe. Its fields are options of the stage, and part of its key."""

    @property
    def name(self) -> str:
        """Name of the stage, its folder and its result."""

    @property
    def file(self) -> str:
        """Name of the file that holds the result."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the earlier stages whose results it reads."""

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Write the result into the folder, going on from a killed run; return a report."""

    def load(self, folder: Path) -> Any:
        """Return the result."""


def run_stage(
    stage: Stage, context: Context, inputs: Mapping[str, str], parent: Path
) -> tuple[Path, dict[str, Any]]:
    """Run a stage unless its result is there, put it into `context.results`.

    The folder's name ends with the key: a digest of the stage with its options, its settings, the
    task, the seed and `inputs`. So what a stage does not read does not touch it, other settings
    are another folder, and recipes share stages. `record.json` holds report, settings, inputs,
    versions, and the sha256 of the result; `cost.json` the CPU seconds that it took, those of
    killed processes included.

    Args:
        stage: the stage.
        context: the run.
        inputs: name -> digest of everything else that it reads.
        parent: where the folders of stages lie.

    Returns:
        its folder and its record.

    Raises:
        BusyError: another process is running this very stage there.
        OutputError: the folder cannot be written.
    """
    from generator.checkpoints import SPENT, UNFINISHED, add_cost, versions
    from generator.policies.seeing import place

    read = {
        "stage": {name: _text(value) for name, value in vars(stage).items()},
        "task": context.task.key,
        "seed": context.config.seed,
        "settings": stage.settings(context.config),
        "inputs": dict(inputs),
    }
    key = hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()
    folder = parent / f"{stage.name}-{key[:12]}"
    with lock_file(folder):
        if not (folder / RECORD).exists():
            tell(stage.name)
            with spending(ensure_writable(folder) / SPENT) as cpu_seconds:
                report = stage.run(context, folder)
                add_cost(folder, {"stage_cpu_seconds": cpu_seconds()})
            content = {**read, "versions": versions(), "report": report}
            write_sealed(folder / RECORD, {**content, "result": _sha256(folder / stage.file)})
            for name in UNFINISHED - {stage.file}:
                (folder / name).unlink(missing_ok=True)
    record = read_record(folder)
    if record["result"] != _sha256(folder / stage.file):
        raise CheckpointError(
            f"{folder / stage.file} is not what its record says: delete {folder}, and `dlr train` "
            "runs the stage again"
        )
    context.results[stage.name] = place(stage.load(folder), context.config.device)
    context.reports[stage.name] = record["report"]
    return folder, record


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record (settings, inputs, versions, report, result) of a finished stage.

    Raises:
        UsageError: the stage is not finished.
        CheckpointError: the record is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        raise UsageError(f"{path} is not there: finish `dlr train` for this recipe first")
    remedy = f"delete {folder.resolve()}, and `dlr train` runs the stage again"
    content = read_sealed(path, "the record of a stage", CheckpointError, remedy)
    if lacking := {"settings", "inputs", "versions", "report", "result"} - content.keys():
        raise CheckpointError(f"{path} lacks {', '.join(sorted(lacking))}: {remedy}")
    return content


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path} ({error.strerror}): delete {path.parent}, and `dlr train` runs "
            "the stage again"
        ) from error


RECORD = "record.json"
"""Name of a finished stage's record."""


def _text(value: Any) -> Any:
    return value.__name__ if callable(value) else value
