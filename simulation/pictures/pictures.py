"""Contact sheets and videos of simulator states."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.errors import OutputError
from common.files import write_bytes
from simulation.pictures.rendering import Renderer
from simulation.scene import Fixtures

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
VIDEO_SUFFIXES = (".mp4",)
LEAST_FPS = 0.01
"""Pictures per second that ffmpeg is told, which are rounded to this."""
_GAP = 6
"""Pixels between pictures."""
_FONT_SIZE = 13
_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_CUT = (
    "ffmpeg ended before the video was whole: look whether it was killed for memory, and run the "
    "same command again"
)
_JPEG = {"format": "JPEG", "quality": 88}


def draw_states(
    renderer: Renderer,
    states: Iterable[np.ndarray],
    fixtures: Fixtures,
    cameras: Sequence[str],
    size: int,
) -> Iterator[np.ndarray]:
    """Yield each state's picture, upright, uint8 (size, size * cameras, 3): cameras side by side.

    Raises:
        RenderError: the task has no such camera.
        InvalidStateError: a state does not belong to the renderer's task.
    """
    for state in states:
        views = [renderer.render(state, fixtures, name, size, size) for name in cameras]
        yield np.concatenate(views, axis=1)


def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str], columns: int, title: str = ""
) -> np.ndarray:
    """Arrange pictures of one size in rows, each above its caption, below a title.

    Args:
        pictures: uint8 (H, W, 3) each.
        captions: a line each; one that is too wide for its picture is cut.
        columns: pictures in a row.
        title: a line at the top, or empty.

    Returns:
        uint8 (height, width, 3).
    """
    height, width = pictures[0].shape[:2]
    line = _FONT_SIZE + 6
    font = ImageFont.load_default(_FONT_SIZE)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    top = _GAP + (line if title else 0)
    size = (
        _GAP + columns * (width + _GAP),
        top + rows * (height + line + _GAP),
    )
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP // 2), _fit(title, size[0] - 2 * _GAP, pen, font), _INK, font)
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x = _GAP + index % columns * (width + _GAP)
        y = top + index // columns * (height + line + _GAP)
        sheet.paste(Image.fromarray(picture), (x, y))
        pen.text((x, y + height + 2), _fit(caption, width, pen, font), _INK, font)
    return np.asarray(sheet)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture, uint8 (H, W, 3), as PNG or JPEG, as the suffix says.

    Raises:
        OutputError: the suffix names no kind of picture, or the file cannot be written.
    """
    _check_suffix(path, PICTURE_SUFFIXES)
    kind = {"format": "PNG"} if path.suffix == ".png" else _JPEG
    content = io.BytesIO()
    Image.fromarray(picture).save(content, optimize=True, **kind)
    write_bytes(path, content.getvalue())


def write_video(path: Path, pictures: Iterable[np.ndarray], fps: float) -> int:
    """Write pictures, uint8 (H, W, 3) each of one size, as an H.264 video; return their number.

    Raises:
        OutputError: the suffix is not that of a video, or the file cannot be written.
    """
    _check_suffix(path, VIDEO_SUFFIXES)
    content, count = encode_video(pictures, fps)
    write_bytes(path, content)
    return count


def encode_video(pictures: Iterable[np.ndarray], fps: float) -> tuple[bytes, int]:
    """Return pictures, uint8 (H, W, 3) each of one size, as an H.264 video, and their number.

    ffmpeg writes to memory: it reports no disk that becomes full.

    Args:
        pictures: at least one.
        fps: pictures per second, `LEAST_FPS` or more.

    Raises:
        OutputError: ffmpeg ended before the video was whole.
    """
    frames = iter(pictures)
    first = next(frames)
    count = 0
    with open(os.memfd_create("video"), "rb") as memory:
        writer = imageio_ffmpeg.write_frames(
            f"/proc/{os.getpid()}/fd/{memory.fileno()}",
            first.shape[1::-1],
            fps=fps,
            quality=8,
            macro_block_size=2,
            output_params=["-f", "mp4", "-movflags", "+faststart"],
        )
        writer.send(None)
        try:
            for frame in itertools.chain([first], frames):
                _send(writer, frame)
                count += 1
        finally:
            writer.close()
        content = memory.read()
    if not _has_index(content):
        raise OutputError(_CUT)
    return content, count


def _send(writer: Generator[None, np.ndarray, None], frame: np.ndarray) -> None:
    try:
        writer.send(np.ascontiguousarray(frame))
    except OSError as error:  # the pipe broke
        raise OutputError(_CUT) from error


def _has_index(content: bytes) -> bool:
    """Return whether an MP4 has the box that is written last of all."""
    place = 0
    while place + 8 <= len(content):
        if content[place + 4 : place + 8] == b"moov":
            return True
        place += max(8, int.from_bytes(content[place : place + 4], "big"))
    return False


def _check_suffix(path: Path, suffixes: Sequence[str]) -> None:
    if path.suffix not in suffixes:
        raise OutputError(f"{path} should end in {' or '.join(suffixes)}")


def _fit(
    text: str,
    width: int,
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> str:
    """Return the text, cut where it is wider than `width` pixels."""
    if pen.textlength(text, font) <= width:
        return text
    while text and pen.textlength(text + "...", font) > width:
        text = text[:-1]
    return text + "..."
