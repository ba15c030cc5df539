"""The Parquet files of a LeRobotDataset: frames, episodes and tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataset_builders.lerobot_v3 import layout

_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_EPISODES_OF_A_GROUP = 500


class FrameTable:
    """Writes the frames, an episode a row group, into files of limited size.

    Args:
        folder: the dataset's.
        described: the features, as `layout.features` returns them.
    """

    def __init__(self, folder: Path, described: dict[str, Any]) -> None:
        self._folder, self._described = folder, described
        schema = pa.schema([(name, _kind(feature)) for name, feature in described.items()])
        told = json.dumps(layout.huggingface_schema(described))
        self._schema = schema.with_metadata({"huggingface": told})
        self._writer: pq.ParquetWriter | None = None
        self._number, self._size = -1, 0

    def add(
        self,
        pictures: Mapping[str, Sequence[bytes]],
        vectors: Mapping[str, npt.NDArray[Any]],
    ) -> tuple[int, int]:
        """Write an episode and return in which chunk and file it is.

        Args:
            pictures: name -> JPEG of each frame.
            vectors: name -> (frames, dim).
        """
        arrays = []
        for name, feature in self._described.items():
            if feature["dtype"] == "image":
                jpegs = pa.array(pictures[name], pa.binary())
                paths = pa.nulls(len(jpegs), pa.string())
                arrays.append(pa.StructArray.from_arrays([jpegs, paths], fields=list(_PICTURE)))
                continue
            kind = _kind(feature)
            if pa.types.is_fixed_size_list(kind):
                flat = pa.array(vectors[name].ravel(), kind.value_type)
                arrays.append(pa.FixedSizeListArray.from_arrays(flat, kind.list_size))
            else:
                arrays.append(pa.array(vectors[name].ravel(), kind))
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        if self._writer is None or self._size > layout.MEGABYTES_OF_A_FILE * 2**20:
            self._next_file()
        assert self._writer is not None
        self._writer.write_table(table)
        self._size += table.nbytes
        return divmod(self._number, layout.FILES_OF_A_CHUNK)

    def close(self) -> None:
        """End the last file."""
        if self._writer is not None:
            self._writer.close()

    def _next_file(self) -> None:
        self.close()
        self._number, self._size = self._number + 1, 0
        chunk, file = divmod(self._number, layout.FILES_OF_A_CHUNK)
        path = self._folder / layout.DATA.format(chunk_index=chunk, file_index=file)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(path, self._schema, use_dictionary=False)


class EpisodeTable:
    """Writes what is to be known of each episode into one file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / layout.EPISODES.format(chunk_index=0, file_index=0)
        self._rows: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, row: dict[str, Any]) -> None:
        """Take in an episode's row: column -> value."""
        self._rows.append(row)
        if len(self._rows) == _EPISODES_OF_A_GROUP:
            self._write()

    def close(self) -> None:
        """End the file."""
        self._write()
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            schema = pa.Table.from_pylist(self._rows).schema
            self._writer = pq.ParquetWriter(self._path, schema)
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._writer.schema))
        self._rows = []


def write_tasks(folder: Path, tasks: Mapping[str, int]) -> None:
    """Write the tasks' language and numbers."""
    import pandas as pd

    frame = pd.DataFrame({"task_index": list(tasks.values())}, index=list(tasks))
    frame.index.name = "task"
    path = folder / layout.TASKS
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path)


def _kind(feature: dict[str, Any]) -> Any:
    """Return a feature's type in Arrow."""
    if feature["dtype"] == "image":
        return _PICTURE
    value = pa.from_numpy_dtype(np.dtype(feature["dtype"]))
    (length,) = feature["shape"]
    return value if length == 1 else pa.list_(value, length)
