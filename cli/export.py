"""`dlr export`: an RLDS dataset as a LeRobotDataset v3."""

from __future__ import annotations

from pathlib import Path


def export(dataset: str, target: Path, /, split: str = "train") -> None:
    """Write the episodes as a LeRobotDataset v3, pictures byte for byte as they are stored.

    Args:
        dataset: Folder of one version of an RLDS dataset, or its address, such as `gs://...`.
        target: Folder of the LeRobotDataset; it appears when it is whole.
        split: Split to export.
    """
    from dataset_builders.lerobot_v3.export import ExportConfig, export

    print(export(ExportConfig(dataset, target, split)))
