"""What is published beside a dataset, so that our reader opens it without reading all of it."""

from __future__ import annotations

from pathlib import Path

from common.errors import DatasetError
from common.json_files import read_json
from vla_adapters.dataset_folder import open_folder, splits_of
from vla_adapters.index import index_name, index_to_publish


def reader_files(folder: Path) -> dict[str, Path]:
    """Return the index of each split, name -> file in the user's cache; none for other formats.

    Args:
        folder: a dataset on this machine.

    Raises:
        DatasetError: a shard is damaged, or the features are not those of LIBERO's datasets.
        OutputError: the cache folder cannot be written.
    """
    path = folder / "dataset_info.json"
    if not path.is_file():
        return {}
    info = read_json(path, "what TFDS writes", DatasetError, "build the dataset again")
    if info.get("fileFormat", "tfrecord") != "tfrecord":
        return {}
    return {
        index_name(split): index_to_publish(open_folder(folder, split, ()))
        for split in splits_of(folder)
    }
