"""Datasets elsewhere as TFDS gives them, read in blocks with bounded memory; and whole copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import DatasetError, one_line
from common.manifest import check_whole
from common.remote.addresses import is_remote
from common.remote.blocks import AnyFile, RemoteFile
from common.remote.folder import copy_folder, list_folder, local_path, small_copy
from dataset_builders import import_tfds
from dataset_builders.cloud.publish import MARKERS, has_manifest
from dataset_builders.records.tfrecords import records

if TYPE_CHECKING:
    import tensorflow as tf

_SMALL = (".json", ".txt")
"""Endings of the files that describe a dataset."""
_INDEX = "dlr_index"


def open_builder(address: str | Path) -> Any:
    """Return TFDS's read-only builder of a dataset: features, splits, metadata.

    Of a dataset elsewhere it has only what describes it; `load` reads the episodes.

    Args:
        address: folder of one version, or an address such as `gs://bucket/libero_rl/dlr/1.0.0`.

    Raises:
        DatasetError: there is none, or it cannot be read.
    """
    folder, _ = _described(str(address))
    try:
        return import_tfds().builder_from_directory(folder)
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(
            f"{address} cannot be opened ({one_line(error)}): build or publish it again"
        ) from error


def load(
    address: str | Path,
    split: str = "train",
    decoders: Mapping[str, Any] | None = None,
    readers: int = 2,
) -> tf.data.Dataset:
    """Return the episodes of a dataset, nested as `builder.as_dataset` gives them.

    TensorFlow's own reader of `gs://` keeps no cache, knows no emulator and reads no other
    address; this one reads whatever `fsspec` opens, through the cache of blocks, and checks each
    record's checksum. At most `readers` episodes are in memory beside those in use.

    Args:
        address: folder of one version, or an address such as `gs://bucket/libero_rl/dlr/1.0.0`.
        split: name of a split.
        decoders: as for `tfds.load`, such as `tfds.decode.SkipDecoding()` for pictures.
        readers: shards that are read at the same time; with one, episodes keep their order.

    Raises:
        DatasetError: there is no such dataset or split, or it is no TFRecord dataset. Iterating
            raises TensorFlow's errors, with the words of ours.
    """
    import_tfds()
    import tensorflow as tf

    builder = open_builder(address)
    shards = shard_files(address, builder, split)

    def contents(shard: Any) -> Iterator[bytes]:
        file, count = shards[int(shard)]
        yield from (record.content for record in records(file, count))

    def shard_contents(shard: Any) -> tf.data.Dataset:
        spec = tf.TensorSpec((), tf.string)
        return tf.data.Dataset.from_generator(contents, output_signature=spec, args=(shard,))

    numbers = tf.data.Dataset.range(len(shards))
    examples = numbers.interleave(
        shard_contents, cycle_length=readers, num_parallel_calls=readers, deterministic=True
    )

    def parse(content: Any) -> Any:
        return builder.info.features.deserialize_example(content, decoders=decoders)

    return examples.map(parse, num_parallel_calls=readers, deterministic=True)


def shard_files(address: str | Path, builder: Any, split: str) -> list[tuple[AnyFile, int]]:
    """Return the shards of a split, here or elsewhere, each with how many episodes it has.

    Args:
        address: of the dataset.
        builder: what `open_builder` returned for it.
        split: name of a split.

    Raises:
        DatasetError: there is no such split, a shard is missing, or they are no TFRecord files.
    """
    splits = builder.info.splits
    if split not in splits:
        raise DatasetError(f"{address} has no split {split!r}; there are {', '.join(splits)}")
    if builder.info.file_format is not None and builder.info.file_format.value != "tfrecord":
        raise DatasetError(
            f"{address} is stored as {builder.info.file_format.value}: copy it to this machine "
            "with `dlr load --to FOLDER`, and use tfds.data_source"
        )
    info = splits[split]
    folder, there = _described(str(address))
    found: list[tuple[AnyFile, int]] = []
    for name, count in zip(info.filenames, info.shard_lengths, strict=True):
        file = folder / name if there is None else there.get(name)
        if file is None or (isinstance(file, Path) and not file.is_file()):
            raise DatasetError(f"{address}/{name} is missing, one of its shards: copy it again")
        found.append((file, count))
    return found


def copy_dataset(address: str, target: Path) -> Path:
    """Copy a dataset to this machine, each file proved; a killed copy goes on where it stopped.

    Args:
        address: of the dataset, or of any folder that `dlr publish` wrote.
        target: where to put its files; complete, for every loader, when the last is there.

    Raises:
        BusyError: another process is copying to `target`.
        DatasetError: there is none, it cannot be read, or does not arrive as it is.
        OutputError: `target` cannot be written.
    """
    if not is_remote(address):
        raise DatasetError(f"{address} is on this machine: copy it with cp -r")
    _check_marked(address, list_folder(address))
    copy_folder(address, target, last=lambda name: int(name in MARKERS))
    remedy = "delete it and run the same command again"
    check_whole(target, DatasetError, remedy, has_manifest(target))
    return target


def _described(address: str) -> tuple[Path, dict[str, RemoteFile] | None]:
    """Return a folder here with what describes a dataset, and its files if they are elsewhere."""
    if not is_remote(address):
        folder = local_path(address)
        if not (folder / MARKERS[0]).is_file():
            raise DatasetError(
                f"{folder} holds no {MARKERS[0]}: give the folder of one version, "
                "<data_dir>/libero_rl/<config>/1.0.0"
            )
        return folder, None
    there = list_folder(address)
    _check_marked(address, there, MARKERS[:1])
    names = [n for n in there if n.endswith(_SMALL) and "/" not in n and not n.startswith(_INDEX)]
    return small_copy(address, there, names), there


def _check_marked(
    address: str, there: Mapping[str, RemoteFile], markers: tuple[str, ...] = MARKERS
) -> None:
    if not any(marker in there for marker in markers):
        raise DatasetError(
            f"{address} holds no {' or '.join(markers)}: no dataset is there, or its upload has "
            "not ended; check the address, or run `dlr publish` again"
        )
