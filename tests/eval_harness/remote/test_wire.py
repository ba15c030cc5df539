"""The strict codec beside the codecs of the real packages."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any

import msgpack
import numpy as np
import pytest
from openpi_client import msgpack_numpy
from PIL import Image
from vla_eval.protocol import numpy_codec

from eval_harness.remote.wire import DTYPES, Limits, WireError, actions, pack, unpack

MESSAGE = {
    "picture": np.arange(48, dtype=np.uint8).reshape(4, 4, 3),
    "numbers": {name[1:]: np.ones((2, 3), dtype=dtype) for name, dtype in DTYPES.items()},
    "scalar": np.float32(0.5),
    "none": np.zeros((0, 7)),
    "text": "open the drawer",
    "list": [1, 2.5, True, None, "a"],
}


def assert_same(read: Any, sent: Any) -> None:
    if isinstance(sent, dict):
        assert read.keys() == sent.keys()
        for key in sent:
            assert_same(read[key], sent[key])
    elif isinstance(sent, np.ndarray):
        np.testing.assert_array_equal(read, sent, strict=True)
    else:
        assert read == sent


def test_the_real_codecs_read_what_is_packed() -> None:
    assert_same(msgpack_numpy.unpackb(pack(MESSAGE, marks="bytes")), MESSAGE)
    packed = pack(MESSAGE, marks="text")
    assert_same(msgpack.unpackb(packed, object_hook=numpy_codec.decode_ndarray), MESSAGE)


def test_what_the_real_codecs_pack_is_read() -> None:
    assert_same(unpack(msgpack_numpy.packb(MESSAGE)), MESSAGE)
    assert_same(unpack(msgpack.packb(MESSAGE, default=numpy_codec.encode_ndarray)), MESSAGE)
    assert isinstance(unpack(msgpack_numpy.packb(MESSAGE))["scalar"], np.float32)


@pytest.mark.parametrize("kind", ["raw", "png", "jpeg"])
def test_pictures_of_vla_eval_are_read(kind: Any) -> None:
    picture = np.tile(np.arange(0, 192, 12, dtype=np.uint8)[:, None, None], (1, 16, 3))
    message = msgpack.packb({"x": numpy_codec.encode_image(picture, kind)})
    read = unpack(message)["x"]
    assert read.dtype == np.uint8
    assert read.shape == picture.shape
    assert np.abs(read.astype(int) - picture).max() <= (4 if kind == "jpeg" else 0)


def marked(**fields: object) -> bytes:
    array = {"__ndarray__": True, "data": bytes(8), "dtype": "<f8", "shape": [1]}
    return msgpack.packb({"x": array | fields})


def png(width: int, height: int, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return file.getvalue()


def picture(data: object, **fields: object) -> bytes:
    return msgpack.packb({"x": {"__image__": True, "format": "png", "data": data, **fields}})


DEEP = b"\x91" * 3000 + b"\xc0"
BAD = {
    "nothing": b"",
    "no map": msgpack.packb([1, 2]),
    "cut off": pack(MESSAGE, marks="bytes")[:-3],
    "something behind": msgpack.packb({}) + b"\x00",
    "objects": marked(dtype="|O", data=bytes(8)),
    "records": marked(dtype="V8"),
    "dates": marked(dtype="<M8[s]"),
    "other byte order": marked(dtype=">f8"),
    "a type that is code": marked(dtype="__import__('os')"),
    "a type that is none": marked(dtype=None),
    "too few bytes": marked(shape=[2]),
    "negative length": marked(shape=[-1]),
    "huge lengths": marked(shape=[1 << 40, 1 << 40]),
    "huge lengths of nothing": marked(shape=[0, 1 << 40], data=b""),
    "true as a length": marked(shape=[True]),
    "too many dimensions": marked(shape=[1] * 9),
    "text as data": marked(data="12345678"),
    "no shape": marked(shape=None),
    "a scalar out of range": msgpack.packb(
        {"x": {b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}}
    ),
    "a scalar of text": msgpack.packb(
        {"x": {b"__npgeneric__": True, b"data": "1", b"dtype": "|u1"}}
    ),
    "an extension": msgpack.packb({"x": msgpack.ExtType(5, b"abc")}),
    "a time": msgpack.packb({"x": msgpack.Timestamp(1, 2)}),
    "too deep": b"\x81\xa1x" + DEEP,
    "a number as key": b"\x81\x01\x01",
    "broken text": b"\x81\xa1\xff\x01",
    "a claimed length": b"\x81\xa1x\xdd\xff\xff\xff\xff",
    "a claimed map": b"\xdf\xff\xff\xff\xff",
    "no picture": picture(b"PNG"),
    "a cut picture": picture(png(64, 64)[:-30]),
    "a picture of text": picture("abc"),
    "a grey picture": picture(png(4, 4, "L")),
    "a picture of another shape": picture(png(4, 4), shape=[5, 4, 3]),
    "a GIF": picture(b"GIF89a" + bytes(20)),
    "a huge picture": picture(png(6000, 6000)),
    "many elements": msgpack.packb({"x": [[0] * 4000 for _ in range(60)]}),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_messages_are_refused(name: str) -> None:
    with pytest.raises(WireError):
        unpack(BAD[name])


def test_a_message_over_the_limit_is_refused() -> None:
    message = pack(MESSAGE, marks="bytes")
    unpack(message, Limits(message=len(message)))
    with pytest.raises(WireError, match="at most"):
        unpack(message, Limits(message=len(message) - 1))


@pytest.mark.parametrize(
    "message",
    [
        b"\x81\xa1x" + b"\xdc\x0f\xa0" * 1000,
        b"\x81\xa1x\xdc\x10\x00" + (b"\xdc\x10\x00" + b"\x80" * 4096) * 2000,
        msgpack.packb({"x": [{"__image__": 1, "format": "png", "data": png(2000, 2000)}] * 500}),
    ],
    ids=["nested claims", "eight million maps", "pictures that swell"],
)
def test_no_message_takes_much_memory(message: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(WireError):
        unpack(message)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * Limits().decoded


def test_actions_are_one_or_a_chunk() -> None:
    assert actions([0.0] * 7).shape == (1, 7)
    assert actions(np.zeros((5, 7), dtype=np.float32)).dtype == np.float64
    bad: list[Any] = [
        None,
        "abc",
        {},
        [[]],
        np.zeros((5, 8)),
        np.zeros((2, 5, 7)),
        [0, 0, 0, 0, 0, 0, np.nan],
    ]
    for value in [*bad, np.zeros((0, 7)), [[0] * 7, [0] * 6]]:
        with pytest.raises(WireError, match="actions"):
            actions(value)


def test_what_cannot_be_sent_is_refused() -> None:
    for value in (np.array(["a"]), np.zeros(1, dtype=complex), object(), 1 << 70):
        with pytest.raises(WireError, match="cannot send"):
            pack({"x": value}, marks="bytes")
