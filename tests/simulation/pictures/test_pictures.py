"""Contact sheets and videos: every picture is where it belongs, files are whole."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest

from common.errors import OutputError
from simulation.pictures.pictures import contact_sheet, write_picture, write_video

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (30, 30, 220)


def plain(*colours: tuple[int, int, int]) -> list[np.ndarray]:
    return [np.full((40, 60, 3), colour, np.uint8) for colour in colours]


def where(sheet: np.ndarray, colour: tuple[int, int, int]) -> tuple[slice, slice]:
    """Rows and columns of the sheet that a picture of one colour fills."""
    rows, columns = np.nonzero((sheet == colour).all(axis=2))
    assert len(rows) == 40 * 60
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


def test_sheet_is_filled_row_by_row_with_a_caption_below_each() -> None:
    sheet = contact_sheet(plain(RED, GREEN, BLUE), ["one", "two", "three"], 2, "title")
    red, green, blue = (where(sheet, colour) for colour in (RED, GREEN, BLUE))
    assert red[0] == green[0] and red[1].stop < green[1].start
    assert red[1] == blue[1] and red[0].stop < blue[0].start
    caption = sheet[red[0].stop : blue[0].start, red[1]]
    assert (caption.min(axis=2) < 100).any()
    assert (sheet[: red[0].start].min(axis=2) < 100).any()
    bare = contact_sheet(plain(RED), [""], 4)
    assert bare.shape[0] < sheet.shape[0] / 2 and bare.shape[1] < 80
    assert set(np.unique(bare.reshape(-1, 3), axis=0).max(axis=1)) <= {220, 255}


def test_long_words_stay_within_their_picture() -> None:
    sheet = contact_sheet(plain(RED, GREEN), ["", "a long caption " * 9], 2, "t" * 500)
    red = where(sheet, RED)
    assert (sheet[red[0].stop :, red[1]] == 255).all()
    assert (sheet[:, -3:] == 255).all()


def test_files_hold_the_picture(tmp_path: Path) -> None:
    picture = contact_sheet(plain(RED, GREEN), ["a", "b"], 2)
    write_picture(tmp_path / "new" / "a.png", picture)
    np.testing.assert_array_equal(iio.imread(tmp_path / "new" / "a.png"), picture)
    write_picture(tmp_path / "a.jpg", picture)
    assert np.abs(iio.imread(tmp_path / "a.jpg").astype(int) - picture).mean() < 5
    with pytest.raises(OutputError, match=r"\.png or \.jpg"):
        write_picture(tmp_path / "a.bmp", picture)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "new"]


def test_a_video_has_every_frame_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert write_video(path, iter(plain(RED, GREEN, BLUE)), 5) == 3
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    assert (meta["size"], meta["fps"], meta["codec"]) == ((60, 40), 5, "h264")
    frames = [np.frombuffer(frame, np.uint8).reshape(40, 60, 3) for frame in reader]
    for frame, colour in zip(frames, (RED, GREEN, BLUE), strict=True):
        assert np.abs(frame.astype(int) - colour).mean() < 12
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def frames():
        yield from plain(RED)
        raise OutputError("the renderer broke")

    with pytest.raises(OutputError, match="broke"):
        write_video(tmp_path / "a.mp4", frames(), 5)
    with pytest.raises(OutputError, match=r"\.mp4"):
        write_video(tmp_path / "a.gif", iter(plain(RED)), 5)
    assert not list(tmp_path.iterdir())


def kill_encoders() -> None:
    """Kill the ffmpeg that this process has started."""
    for child in Path("/proc/self/task").glob("*/children"):
        for pid in child.read_text().split():
            if "ffmpeg" in Path(f"/proc/{pid}/comm").read_text():
                os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize("killed", [20, 40])
def test_a_video_whose_encoder_is_killed_is_one_error(killed: int, tmp_path: Path) -> None:
    """Of 40 pictures, before the one of a number or after the last."""

    def frames():
        for number in range(41):
            if number == killed:
                kill_encoders()
            if number < 40:
                yield np.random.default_rng(number).integers(0, 256, (256, 256, 3), np.uint8)

    with pytest.raises(OutputError, match="ffmpeg ended before the video was whole"):
        write_video(tmp_path / "a.mp4", frames(), 5)
    assert not list(tmp_path.iterdir())
