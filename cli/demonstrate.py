"""`dlr demonstrate`: make a task's demonstrations, scripted, human or both."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from demonstrations.config import DemonstrationConfig
from generator.run_folder import DEFAULT_RUN, RunFolder


def demonstrate(
    task: str,
    /,
    run: Path = DEFAULT_RUN,
    assets: Path | None = None,
    config: Annotated[DemonstrationConfig, tyro.conf.arg(name="")] = DemonstrationConfig(),
) -> None:
    """Make a task's demonstrations; only those that succeed are kept.

    Scripted ones solve the task in several ways. With `--human-demos` people's recordings are
    replayed and mixed in; add `--episodes-per-way 0` to have these alone.

    Args:
        task: A task, as `suite/name` or its name alone.
        run: Folder that all stages share.
        assets: `libero`, `embedded` or a folder of assets; by default as `dlr assets` says.
        config: Which demonstrations, and how many.
    """
    from demonstrations.audit import audit_path, read_audit
    from demonstrations.make import make_demonstrations
    from simulation.assets.resolve import resolve_assets
    from simulation.tasks import get_task

    chosen = get_task(task)
    path = RunFolder(run).demonstrations(chosen)
    with make_demonstrations(chosen, path, config, resolve_assets(assets)) as file:
        if audit_path(path).exists():
            print("\n".join(read_audit(audit_path(path)).lines()))
        print(f"{len(file)} demonstrations\n{path}")
