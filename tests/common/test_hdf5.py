"""HDF5 files that lead elsewhere, ask for plug-ins or for gigabytes are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from common.hdf5 import FAULTS, open_hdf5, read_array


def external_link(file: h5py.File, other: Path) -> None:
    file["data"] = h5py.ExternalLink(str(other), "/data")


def soft_link(file: h5py.File, other: Path) -> None:
    file["data/x"] = h5py.SoftLink("/elsewhere")


def external_storage(file: h5py.File, other: Path) -> None:
    file.create_dataset("data/x", shape=(4, 2), dtype="f8", external=str(other))


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((3, 7), "f8")
    layout[:] = h5py.VirtualSource(str(other), "data", shape=(3, 7))
    file.create_virtual_dataset("data/x", layout)


def reference(file: h5py.File, other: Path) -> None:
    file.create_group("data").create_dataset("x", data=file.ref, dtype=h5py.ref_dtype)


def region(file: h5py.File, other: Path) -> None:
    rows = file.create_dataset("rows", data=np.zeros((3, 7)))
    file["data/x"] = rows.regionref[:1]


def attribute_reference(file: h5py.File, other: Path) -> None:
    file.create_group("data").attrs["x"] = file.ref


def rows(file: h5py.File, other: Path) -> None:
    file.create_dataset("data/x", shape=(300_000_000, 7), dtype="f8", chunks=(1000, 7))


def contiguous_rows(file: h5py.File, other: Path) -> None:
    file.create_dataset("data/x", shape=(300_000_000, 7), dtype="f8")


def chunk(file: h5py.File, other: Path) -> None:
    file.create_dataset(
        "data/x", shape=(1, 7), maxshape=(None, 7), dtype="f8", chunks=(50_000_000, 7)
    )


def zeros(file: h5py.File, other: Path) -> None:
    """150 MB that are a hundred kilobytes packed."""
    for name in "abc":
        file.create_dataset(
            name, data=np.zeros((900_000, 7)), compression="gzip", compression_opts=9
        )


def plug_in(file: h5py.File, other: Path) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4,))
    properties.set_filter(31_999, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, properties)


def compound(file: h5py.File, other: Path) -> None:
    file["data/x"] = np.zeros(3, np.dtype([("a", "f8"), ("b", "i4")]))


def named_type(file: h5py.File, other: Path) -> None:
    file["data"] = np.dtype("f8")


BAD: dict[str, tuple[Callable[[h5py.File, Path], None], str]] = {
    "external_link": (external_link, "/data is a link to elsewhere"),
    "soft_link": (soft_link, "/data/x is a link to elsewhere"),
    "external_storage": (external_storage, "lies in another file"),
    "virtual": (virtual, "lies in another file"),
    "reference": (reference, "neither numbers nor text"),
    "region": (region, "neither numbers nor text"),
    "attribute_reference": (attribute_reference, "neither numbers nor text"),
    "rows": (rows, "declares 16,800,000,000 bytes"),
    "contiguous_rows": (contiguous_rows, "declares 16,800,000,000 bytes"),
    "chunk": (chunk, "declares 2,800,000,000 bytes"),
    "zeros": (zeros, "it declares 151,200,000 bytes"),
    "plug_in": (plug_in, "needs the filter 31999"),
    "compound": (compound, "neither numbers nor text"),
    "named_type": (named_type, "neither a group nor data"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_what_no_recording_needs_is_refused(
    make: Callable[[h5py.File, Path], None],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything of it is read."""
    other = tmp_path / "other.hdf5"
    with h5py.File(other, "w") as file:
        file["data"] = np.ones((3, 7))
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        make(file, other)
    monkeypatch.delattr(h5py.Dataset, "__getitem__")
    with pytest.raises(ValueError, match=message):
        open_hdf5(tmp_path / "a.hdf5")


def test_an_ordinary_file_is_opened_whatever_it_repeats(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        for index in range(3):
            group = file.create_group(f"data/demo_{index}")
            numbers = np.random.default_rng(0).uniform(size=(50, 7))
            group.create_dataset("actions", data=numbers, compression="gzip", shuffle=True)
            group["dones"], group["empty"] = np.zeros(100_000, np.uint8), np.zeros((0, 3))
            group.create_dataset("zeros", data=np.zeros((1000, 100)), compression="gzip")
            group.attrs["model_file"] = "<mujoco>" * 10_000
            group.attrs["success"], group.attrs["seed"] = True, 2**40
        file["data/again"] = file["data/demo_0"]
        file["data/demo_1/back"] = file["data"]
    with open_hdf5(path) as file:
        assert read_array(file["data/demo_1"], "actions", 7).shape == (50, 7)


def test_a_changed_file_is_looked_through_again(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)
    open_hdf5(path).close()
    with h5py.File(path, "r+") as file:
        file["y"] = h5py.SoftLink("/z")
    with pytest.raises(ValueError, match="/y is a link"):
        open_hdf5(path)


@pytest.mark.parametrize("content", [b"", b"not HDF5"], ids=["empty", "text"])
def test_what_is_no_hdf5(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.hdf5").write_bytes(content)
    with pytest.raises(FAULTS):
        open_hdf5(tmp_path / "a.hdf5")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((0, 7)), r"shape \(0, 7\)"),
        (np.zeros((3, 6)), r"shape \(3, 6\)"),
        (np.zeros(7), "no table of numbers"),
        (np.full((2, 7), np.nan), "NaN or infinity"),
        (np.full((2, 7), b"1"), "no table of numbers"),
    ],
)
def test_arrays_are_tables_of_finite_numbers(
    values: np.ndarray, message: str, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["x"] = values
        with pytest.raises(ValueError, match=message):
            read_array(file, "x", 7)
