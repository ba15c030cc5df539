"""MessagePack with NumPy arrays, as openpi and vla-eval send it; its reader trusts nothing.

Both mark an array by a map with a key `__ndarray__`, its bytes, dtype and shape; openpi's marks
are byte strings and vla-eval's are text, and vla-eval also sends pictures as PNG or JPEG files.
Facts: `openpi_client.msgpack_numpy`, `vla_eval.protocol.numpy_codec`, `.image_codec`.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgpack
import numpy as np
import numpy.typing as npt
from PIL import Image

from common.errors import DlrError
from eval_harness.policy import ACTION_DIM

MIB = 1 << 20
DTYPES: dict[str, np.dtype[Any]] = {np.dtype(c).str: np.dtype(c) for c in "?bBhHiIqQefd"}
"""Types of arrays that are read, by name: booleans, integers and floats of this byte order."""
PICTURE_MARK = b"__image__"
"""Is in every message with a picture as a file, which may be small and become large."""

_CONTAINER = 4096
_DIMENSIONS = 8
_PICTURE_FORMATS = ("PNG", "JPEG")
_PICTURE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    OverflowError,
    TypeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises on a damaged file."""


class WireError(DlrError, ValueError):
    """A message of a remote policy's protocol is malformed or larger than allowed."""


@dataclass(frozen=True)
class Limits:
    """How much memory a message may claim."""

    message: int = 16 * MIB
    """Bytes of a message as it is sent."""
    decoded: int = 64 * MIB
    """Bytes of its arrays and pictures once decoded."""
    pixels: int = 1 << 21
    """Pixels of a picture that comes as a file; what decodes it may hold up the whole process."""
    items: int = 200_000
    """Elements of all its lists and maps together."""


def pack(message: Mapping[str, Any], marks: Literal["bytes", "text"]) -> bytes:
    """Return a message as MessagePack; its arrays are marked as openpi (bytes) or vla-eval does.

    Raises:
        WireError: it holds something that neither protocol can carry.
    """

    def default(value: object) -> object:
        if isinstance(value, np.generic) and value.dtype.str in DTYPES:
            return value.item()
        if not isinstance(value, np.ndarray) or value.dtype.str not in DTYPES:
            raise WireError(f"cannot send {type(value).__name__} {getattr(value, 'dtype', '')}")
        fields = {
            "__ndarray__": True,
            "data": value.tobytes(),
            "dtype": value.dtype.str,
            "shape": list(value.shape),
        }
        return {k.encode(): v for k, v in fields.items()} if marks == "bytes" else fields

    try:
        packed: bytes = msgpack.packb(message, default=default)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"cannot send this message: {error}") from error
    return packed


def unpack(data: bytes, limits: Limits = Limits()) -> dict[str | bytes, Any]:
    """Return the map that a message holds, with its arrays and pictures.

    Arrays are fresh copies of one of `DTYPES`; pictures are uint8, (H, W, 3), RGB. Whatever the
    message claims, no more memory is taken than a small multiple of the limits.

    Raises:
        WireError: it is no such message, or exceeds a limit.
    """
    if len(data) > limits.message:
        raise WireError(f"a message of {len(data)} bytes; at most {limits.message} are read")
    decoder = _Decoder(limits)
    try:
        message = msgpack.unpackb(
            data,
            object_hook=decoder.map,
            list_hook=decoder.list,
            max_str_len=MIB,
            max_bin_len=len(data),
            max_array_len=_CONTAINER,
            max_map_len=_CONTAINER,
            max_ext_len=0,
        )
    except WireError:
        raise
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError(f"no MessagePack that is read here: {error}") from error
    if not isinstance(message, dict):
        raise WireError(f"a message is a map, not {type(message).__name__}")
    return message


class _Decoder:
    """Turns marked maps into arrays while a message is read, and counts what it costs."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._items = 0
        self._bytes = 0

    def list(self, values: list[Any]) -> list[Any]:
        self._count(len(values))
        return values

    def map(self, fields: dict[str | bytes, Any]) -> Any:
        self._count(len(fields))
        if not (marks := {"__ndarray__", "__npgeneric__", "__image__"} & _names(fields)):
            return fields
        named = {
            k.decode(errors="replace") if isinstance(k, bytes) else k: fields[k] for k in fields
        }
        if "__npgeneric__" in marks:
            return self._scalar(named)
        if "__image__" in marks and named.get("format") != "raw":
            return self._picture(named)
        return self._array(named)

    def _count(self, items: int) -> None:
        self._items += items + 1
        if self._items > self._limits.items:
            raise WireError(f"more than {self._limits.items} elements in one message")

    def _claim(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._limits.decoded:
            raise WireError(f"arrays of more than {self._limits.decoded} bytes in one message")

    def _array(self, fields: dict[str, Any]) -> npt.NDArray[Any]:
        data, shape, dtype = fields.get("data"), _shape(fields.get("shape")), _dtype(fields)
        if not isinstance(data, bytes) or len(data) != math.prod(shape) * dtype.itemsize:
            raise WireError(f"an array of shape {shape} and type {dtype} with other bytes")
        self._claim(len(data))
        return np.frombuffer(data, dtype).reshape(shape).copy()

    def _scalar(self, fields: dict[str, Any]) -> Any:
        value, dtype = fields.get("data"), _dtype(fields)
        if not isinstance(value, bool | int | float):
            raise WireError(f"a number given as {type(value).__name__}")
        try:
            return dtype.type(value)
        except (OverflowError, ValueError) as error:
            raise WireError(f"a number that is no {dtype}: {error}") from error

    def _picture(self, fields: dict[str, Any]) -> npt.NDArray[np.uint8]:
        data = fields.get("data")
        if not isinstance(data, bytes):
            raise WireError("a picture without bytes")
        try:
            with Image.open(io.BytesIO(data), formats=_PICTURE_FORMATS) as picture:
                shape = (picture.height, picture.width, 3)
                if picture.mode != "RGB" or _shape(fields.get("shape", shape)) != shape:
                    raise WireError(f"a picture that is not RGB, or not of the shape {shape}")
                if picture.height * picture.width > self._limits.pixels:
                    raise WireError(f"a picture file of more than {self._limits.pixels} pixels")
                self._claim(math.prod(shape))
                return np.asarray(picture).copy()
        except WireError:
            raise
        except _PICTURE_ERRORS as error:
            raise WireError(f"a damaged picture: {error}") from error


def _names(fields: Mapping[str | bytes, Any]) -> set[str]:
    return {k.decode(errors="replace") if isinstance(k, bytes) else k for k in fields}


def _dtype(fields: Mapping[str, Any]) -> np.dtype[Any]:
    name = fields.get("dtype")
    if not isinstance(name, str) or name not in DTYPES:
        raise WireError(f"an array of type {str(name)[:40]!r}; known are {' '.join(DTYPES)}")
    return DTYPES[name]


def _shape(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or len(value) > _DIMENSIONS:
        raise WireError(f"an array's shape is a list of at most {_DIMENSIONS} lengths")
    if any(type(length) is not int or not 0 <= length < 1 << 31 for length in value):
        raise WireError("an array's shape has a length that is none")
    return tuple(value)


def picture(value: object, name: str) -> npt.NDArray[np.uint8]:
    """Return a picture of a request: uint8, (H, W, 3).

    Raises:
        WireError: it is none.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 3:
        raise WireError(f"{name} must be a uint8 picture (H, W, 3), not {describe(value)}")
    if value.shape[2] != 3 or 0 in value.shape:
        raise WireError(f"{name} must be a uint8 picture (H, W, 3), not {describe(value)}")
    return value


def numbers(value: object, name: str) -> npt.NDArray[np.float64]:
    """Return a vector of finite numbers of a request: float64, (n,).

    Raises:
        WireError: it is none.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise WireError(f"{name} must be a vector of numbers, not {describe(value)}") from error
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise WireError(f"{name} must be a vector of finite numbers, not {describe(value)}")
    return array


def text(value: object, name: str) -> str:
    """Return a text of a message.

    Raises:
        WireError: it is none.
    """
    if not isinstance(value, str):
        raise WireError(f"{name} must be text, not {describe(value)}")
    return value


def describe(value: object) -> str:
    """Return a few words on what a value is, for an error."""
    if isinstance(value, np.ndarray):
        broken = value.dtype.kind == "f" and not np.isfinite(value).all()
        return f"{value.dtype} {value.shape}" + (" with NaN or infinity" if broken else "")
    return "nothing" if value is None else type(value).__name__


def actions(value: object) -> npt.NDArray[np.float64]:
    """Return the actions of a reply, one or a chunk of them: float64, (k, 7), finite.

    Raises:
        WireError: they are missing, of another shape, or hold NaN or infinity.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise WireError(f"actions that are {describe(value)}") from error
    chunk = array[None] if array.ndim == 1 else array
    if chunk.ndim != 2 or chunk.shape[1] != ACTION_DIM or not len(chunk):
        what = describe(value) if value is None else f"of shape {array.shape}"
        raise WireError(f"actions {what}, not (chunk, {ACTION_DIM})")
    if not np.isfinite(chunk).all():
        raise WireError("actions with NaN or infinity")
    return chunk
