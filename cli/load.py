"""`dlr load`: what a dataset anywhere holds, how to read it, and a copy of it."""

from __future__ import annotations

import collections
import os
from pathlib import Path

_HOW = """
  training:  vla_adapters.reader.Reader([{address!r}], ReaderConfig(), collate)
  TFDS:      dataset_builders.cloud.load.load({address!r}, split={split!r})
  others:    {folder}tfds.builder_from_directory({path!r})"""


def load(address: str, /, to: Path | None = None, anonymous: bool = False) -> None:
    """Say what a dataset at an address holds; only what is needed for that is read.

    Args:
        address: `gs://bucket/libero_rl/dlr/1.0.0`, another address that fsspec opens, or a folder.
        to: Folder to copy the whole dataset to; a killed copy goes on where it stopped.
        anonymous: Read a public bucket without looking for credentials.
    """
    from common.remote.addresses import ANONYMOUS, is_remote

    if anonymous:
        os.environ[ANONYMOUS] = "1"
    if to is not None:
        from dataset_builders.cloud.load import copy_dataset

        print(copy_dataset(address, to))
        return
    from common.remote.folder import local_path
    from vla_adapters.dataset_folder import splits_of
    from vla_adapters.records import open_records

    splits = splits_of(address)
    for split in splits:
        records = open_records([address], split, ())
        print(f"{records.name} {split}: {len(records)} episodes, {records.steps.sum()} steps")
        for name in ("method", "pattern", "task", "asset_pack"):
            counts = collections.Counter(records.metadata.get(name, ()))
            told = ", ".join(f"{value}: {count}" for value, count in sorted(counts.items())[:12])
            print(f"  {name:<10} {told}{', ...' if len(counts) > 12 else ''}")
    copied = f"`dlr load {address} --to FOLDER`, then " if is_remote(address) else ""
    path = "FOLDER" if copied else str(local_path(address))
    print(_HOW.format(address=address, split=splits[0], folder=copied, path=path))
