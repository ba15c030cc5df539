"""`dlr verify`: prove that a dataset holds what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def verify(
    dataset: str,
    /,
    trajectories: Path | None = None,
    assets: Path | None = None,
    replay: int | Literal["all"] = 3,
    workers: int | None = None,
) -> None:
    """Check every episode of a dataset, and simulate some again from their stored actions.

    Args:
        dataset: Folder with dataset_info.json, `<data_dir>/libero_rl/<config>/1.0.0`, or an
            address such as `gs://bucket/libero_rl/dlr/1.0.0`, which is copied to the cache first.
        trajectories: Folder it was built from, whose files are compared with their digests.
        assets: `libero`, `embedded` or a folder of assets to simulate and render with; by default
            as `dlr assets` says.
        replay: Episodes that are simulated again, or `all`.
        workers: Processes that do so; by default one for each core.
    """
    from dataset_builders.verify import verify

    pack = None if assets is None else str(assets)
    print(verify(dataset, trajectories, pack, replay, workers))
