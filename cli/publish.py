"""`dlr publish`: a dataset to cloud storage, complete or not at all."""

from __future__ import annotations

from pathlib import Path


def publish(
    folder: Path,
    address: str,
    /,
    overwrite: bool = False,
    uploads: int = 4,
    index: bool = True,
) -> None:
    """Send a dataset to `gs://`, `s3://`, `hf://` or another address that fsspec opens.

    Args:
        folder: Folder of one version of a dataset, `<data_dir>/libero_rl/<config>/1.0.0`, or of a
            LeRobotDataset.
        address: Where its files are to be, such as `gs://bucket/libero_rl/dlr/1.0.0`.
        overwrite: Replace what is there; files of other names below the address are removed.
        uploads: Files that are sent at the same time.
        index: Publish the index of our reader too, which then opens the dataset at once.
    """
    from dataset_builders.cloud.publish import PublishConfig, publish
    from vla_adapters.publishing import reader_files

    config = PublishConfig(folder, address, overwrite, uploads)
    print(publish(config, reader_files(folder) if index else {}))
