"""`dlr verify`: prove that a dataset holds what it says."""

from __future__ import annotations

from pathlib import Path


def verify(dataset: str, /, trajectories: Path | None = None, assets: Path | None = None) -> None:
    """Check every episode of a dataset: flags, rewards, numbers, pictures, digests.

    Args:
        dataset: Folder with dataset_info.json, `<data_dir>/libero_rl/<config>/1.0.0`, or its
            address, such as `gs://bucket/libero_rl/dlr/1.0.0`; it is copied to the cache first.
        trajectories: Folder it was built from; a sample of pictures is then rendered anew.
        assets: `libero`, `embedded` or a folder of assets to render with; by default as
            `dlr assets` says.
    """
    from dataset_builders.verify import verify

    print(verify(dataset, trajectories, None if assets is None else str(assets)))
