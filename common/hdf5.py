"""HDF5 files opened in one place: what leads out of a file, runs code or asks for too much is not.

HDF5 follows links into any file that the user may read, loads plug-ins for filters by number, and
allocates what a header declares. Files of recordings need none of that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from common.errors import DlrError, one_line

_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, 32000}
"""Filters that come with h5py itself; 32000 is LZF."""
_FREE_BYTES = 2**20
"""What a data set or attribute may declare in any case."""
_PACKED = 1100
"""Most bytes that one stored byte can stand for: Deflate's bound, and some."""
_FILE_PACKED = 100
"""The same for whole files, of which states and actions are the most."""
_FILE_FREE_BYTES = 2**26
FAULTS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
)
"""What h5py raises on damaged files; all of it has been seen."""
_Stamp = tuple[int, int, int, int]


def open_hdf5(path: Path) -> h5py.File:
    """Return a file that was opened for reading, after all in it has been looked through.

    A file that has not changed is looked through once in a process.

    Raises:
        OSError: it is missing or no HDF5; what h5py says of it.
        ValueError: it holds a link that is not its own, data elsewhere, a filter or type that
            recordings have no need of, or declares more than it can hold; a few words.
    """
    stat = path.stat()
    _check_once(str(path), (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return h5py.File(path)


def read_array(group: h5py.Group, name: str, columns: int | None = None) -> np.ndarray:
    """Return a data set of finite numbers with rows, float64 (T, N).

    Args:
        group: holds it.
        name: its name.
        columns: N; any by default.

    Raises:
        KeyError, OSError: it is missing, or cannot be read.
        ValueError: it has another shape, no row, or numbers that are not finite.
    """
    found = group[name]
    if not isinstance(found, h5py.Dataset) or found.ndim != 2 or found.dtype.kind not in "fiu":
        raise ValueError(f"{name} is no table of numbers")
    if not len(found) or (columns or found.shape[1]) != found.shape[1]:
        raise ValueError(f"{name} has shape {found.shape}, not (T, {columns or 'N'})")
    array = np.asarray(found[()], dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return array


def as_error(path: Path, fault: Exception, error: type[DlrError], remedy: str) -> DlrError:
    """Return the one line that says that an HDF5 file cannot be used."""
    return error(f"{path} is damaged or not what it should be ({one_line(fault)}): {remedy}")


@functools.lru_cache(256)
def _check_once(path: str, stamp: _Stamp) -> None:
    size = stamp[2]
    with h5py.File(path) as file:
        declared = _check_attributes(file, size)
        seen = {_address(file)}
        for name, item in _members(file, "", seen):
            declared += _check_attributes(item, size)
            if isinstance(item, h5py.Dataset):
                declared += _check_data(item, name, size)
        if declared > _FILE_FREE_BYTES + _FILE_PACKED * size:
            raise ValueError(f"it declares {declared:,} bytes, but has {size:,}")


def _members(
    group: h5py.Group, prefix: str, seen: set[int]
) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Yield all that a group holds at any depth, each once, with its name."""
    for name in group:
        path = f"{prefix}/{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{path} is a link to elsewhere")
        item = group[name]
        if not isinstance(item, (h5py.Group, h5py.Dataset)):
            raise ValueError(f"{path} is neither a group nor data")
        if (address := _address(item)) in seen:
            continue
        seen.add(address)
        yield path, item
        if isinstance(item, h5py.Group):
            yield from _members(item, path, seen)


def _address(item: h5py.Group | h5py.Dataset) -> int:
    return int(h5py.h5o.get_info(item.id).addr)


def _check_data(data: h5py.Dataset, name: str, size: int) -> int:
    """Return the bytes that a data set declares.

    Raises:
        ValueError: they lie elsewhere, are packed by a plug-in, or are far more than are stored.
    """
    properties = data.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise ValueError(f"{name} lies in another file")
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if filters - _FILTERS:
        raise ValueError(f"{name} needs the filter {min(filters - _FILTERS)}")
    declared = _check_type(data.dtype, name) * _count(data.shape)
    chunk = data.dtype.itemsize * _count(data.chunks)
    if max(declared, chunk) > _FREE_BYTES + _PACKED * min(data.id.get_storage_size(), size):
        raise ValueError(f"{name} declares {max(declared, chunk):,} bytes that are not there")
    return declared


def _check_attributes(item: h5py.Group | h5py.Dataset, size: int) -> int:
    """Return the bytes that an object's attributes declare, each no more than the file has."""
    total = 0
    for name in item.attrs:
        attribute = item.attrs.get_id(name)
        declared = _check_type(attribute.dtype, name) * _count(attribute.shape)
        if declared > _FREE_BYTES + size:
            raise ValueError(f"the attribute {name} declares {declared:,} bytes")
        total += declared
    return total


def _check_type(kind: np.dtype, name: str) -> int:
    """Return the bytes of a value; refuse references and all but numbers and text."""
    text = h5py.check_string_dtype(kind) is not None
    if not text and kind.kind not in "fiub":
        raise ValueError(f"{name} holds neither numbers nor text")
    return kind.itemsize


def _count(shape: tuple[int, ...] | None) -> int:
    return int(np.prod(shape or (), dtype=object))
