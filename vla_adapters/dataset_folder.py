"""A TFDS dataset's folder: where it lies, which shards a split has, what its steps hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import DatasetError, one_line
from common.files import check_name
from common.json_files import read_json
from common.manifest import check_manifest
from common.remote.addresses import is_remote
from common.remote.blocks import AnyFile, RemoteFile
from common.remote.folder import cache_of, list_folder, local_path, small_copy
from vla_adapters.samples import ACTION_DIM, STATE_DIM

_INFO, _FEATURES = "dataset_info.json", "features.json"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
"""TFDS's names of shards where dataset_info.json names no other."""


@dataclass(frozen=True)
class DatasetFolder:
    """One split of a dataset, here or elsewhere."""

    path: Path
    """Folder of the version, with dataset_info.json; of one elsewhere, the part that is here."""
    name: str
    """Name of the dataset, with that of its config: `libero_rl_dlr`."""
    split: str
    """Name of the split."""
    shards: tuple[AnyFile, ...]
    """TFRecord files, in order."""
    counts: tuple[int, ...]
    """Episodes of each shard, as dataset_info.json claims."""

    def beside(self, name: str) -> Path:
        """Return where to keep a file about the data: in the user's cache, never in the folder."""
        return cache_of(str(self.path.resolve())) / name


def open_folder(address: str | Path, split: str, cameras: Sequence[str]) -> DatasetFolder:
    """Return a split of a dataset, whose features have been checked.

    Of a dataset that is elsewhere only what describes it is copied to the user's cache folder; its
    shards are read in blocks (`common.remote.blocks`).

    Args:
        address: folder of one version, such as `<data_dir>/libero_rl/dlr/1.0.0`, or anything that
            `fsspec` opens, such as `gs://bucket/libero_rl/dlr/1.0.0`.
        split: name of a split, such as `train`.
        cameras: pictures that will be read.

    Raises:
        DatasetError: nothing is there, it is no TFDS dataset of TFRecords, there is no such split
            or no episode in it, a shard is missing, or a feature is missing or of another shape.
    """
    path, there = _described(str(address), split)
    info, features = _read_json(path / _INFO), _read_json(path / _FEATURES)
    if there is None:
        check_manifest(path, DatasetError, "copy or build the dataset again")
    _check_features(features, cameras, path)
    entry = _split(info, split, path)
    with _as_tfds_writes(path):
        counts = tuple(int(count) for count in entry.get("shardLengths", ()))
    if not sum(counts) or min(counts) < 0:
        raise DatasetError(f"{path}: the split {split} has no episodes: build the dataset again")
    shards: list[AnyFile] = []
    for name in _shard_names(info, entry):
        if not ((path / name).is_file() if there is None else name in there):
            raise DatasetError(
                f"{path / name if there is None else f'{address}/{name}'} is missing, one of "
                f"{len(counts)} shards: copy the dataset again"
            )
        shards.append(path / name if there is None else there[name])
    name = "_".join(filter(None, (info["name"], info.get("configName"))))
    return DatasetFolder(path, name, split, tuple(shards), counts)


def splits_of(address: str | Path) -> list[str]:
    """Return the names of the splits of a dataset that hold episodes.

    Raises:
        DatasetError: there is no dataset, or none with episodes.
    """
    path, _ = _described(str(address), "")
    info = _read_json(path / _INFO)
    with _as_tfds_writes(path):
        found = [entry["name"] for entry in info.get("splits", ()) if entry.get("shardLengths")]
    if not found:
        raise DatasetError(f"{address} has no episodes: build the dataset again")
    return found


def _described(address: str, split: str) -> tuple[Path, Mapping[str, RemoteFile] | None]:
    """Return a folder here that describes the dataset, and its files if they are elsewhere."""
    if not is_remote(address):
        return local_path(address), None
    there = list_folder(address)
    if absent := [name for name in (_FEATURES, _INFO) if name not in there]:
        raise DatasetError(
            f"{address} holds no {absent[0]}: no dataset is there, or its upload has not ended; "
            "check the address (the folder of one version of a dataset), or run `dlr publish` again"
        )
    names = [_INFO, _FEATURES, f"dlr_index_{split}.json"]
    return small_copy(address, there, [name for name in names if name in there]), there


def _read_json(path: Path) -> dict[str, Any]:
    if not path.parent.is_dir():
        found = "no folder" if path.parent.exists() else "not there"
        raise DatasetError(
            f"{path.parent} is {found}: give the folder of one version of a dataset, "
            "<data_dir>/libero_rl/<config>/1.0.0"
        )
    if not path.is_file():
        raise DatasetError(
            f"{path.parent} is no TFDS dataset: it holds no {path.name}; give the folder of one "
            "version, <data_dir>/libero_rl/<config>/1.0.0"
        )
    remedy = "copy the dataset, or build it, again"
    return read_json(path, "what TFDS writes", DatasetError, remedy)


def _split(info: dict[str, Any], split: str, path: Path) -> dict[str, Any]:
    """Return what dataset_info.json says of a split."""
    if info.get("fileFormat", "tfrecord") != "tfrecord":
        raise DatasetError(
            f"{path} is stored as {info['fileFormat']}: build it with file_format=tfrecord, which "
            "OpenVLA and Octo read, too"
        )
    with _as_tfds_writes(path):
        splits = {entry["name"]: entry for entry in info.get("splits", ())}
        for name in (info["name"], *splits, *filter(None, [info.get("configName")])):
            check_name(name, f"{path}: a dataset, config or split", DatasetError)
    if split not in splits:
        raise DatasetError(
            f"{path} has no split {split!r}; there are {', '.join(splits) or 'none'}"
        )
    found: dict[str, Any] = splits[split]
    return found


def _shard_names(info: dict[str, Any], entry: dict[str, Any]) -> list[str]:
    count = len(entry.get("shardLengths", ()))
    template = str(entry.get("filepathTemplate") or _TEMPLATE)
    constant = {"DATASET": info["name"], "SPLIT": entry["name"], "FILEFORMAT": "tfrecord"}
    names = []
    for index in range(count):
        name = template
        number, total = f"{index:05d}", f"{count:05d}"
        shard = {"SHARD_INDEX": number, "NUM_SHARDS": total, "SHARD_X_OF_Y": f"{number}-of-{total}"}
        for key, value in {**constant, **shard}.items():
            name = name.replace(f"{{{key}}}", value)
        names.append(check_name(name, "a shard in dataset_info.json", DatasetError))
    return names


def _check_features(features: dict[str, Any], cameras: Sequence[str], path: Path) -> None:
    """Raise DatasetError if a step lacks what a sample is made of."""
    wanted: dict[str, tuple[str, list[int] | None]] = {
        "action": ("tensor", [ACTION_DIM]),
        "observation/state": ("tensor", [STATE_DIM]),
        "language_instruction": ("text", None),
        **{f"observation/{camera}": ("image", None) for camera in cameras},
    }
    with _as_tfds_writes(path):
        _check_steps(features, wanted, path)


def _check_steps(
    features: dict[str, Any], wanted: dict[str, tuple[str, list[int] | None]], path: Path
) -> None:
    steps = _children(features).get("steps", {}).get("sequence", {}).get("feature", {})
    for name, (kind, shape) in wanted.items():
        feature: dict[str, Any] = steps
        for part in name.split("/"):
            feature = _children(feature).get(part, {})
        if kind not in feature:
            raise DatasetError(
                f"{path}: the steps have no feature {name} of the kind {kind}; there are "
                f"{', '.join(sorted(_leaves(steps))) or 'none'}"
            )
        found = [int(size) for size in feature[kind].get("shape", {}).get("dimensions", ())]
        if shape is not None and found != shape:
            raise DatasetError(f"{path}: the feature {name} has shape {found}, not {shape}")
        if kind == "image" and feature[kind].get("encodingFormat") != "jpeg":
            raise DatasetError(f"{path}: the pictures {name} are no JPEGs: build them as JPEGs")


@contextmanager
def _as_tfds_writes(path: Path) -> Iterator[None]:
    """Turn what goes wrong with JSON of other types than TFDS's into one line."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"{path}: dataset_info.json or features.json is not what TFDS writes "
            f"({one_line(error)}): copy the dataset, or build it, again"
        ) from error


def _children(feature: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = feature.get("featuresDict", {}).get("features", {})
    return found


def _leaves(feature: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the names of all features below one, as `observation/image`."""
    names = []
    for name, child in _children(feature).items():
        below = _leaves(child, f"{prefix}{name}/")
        names += below or [prefix + name]
    return names
