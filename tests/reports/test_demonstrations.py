"""Demonstrations as they are looked at: moments, the sheet of a file's ways, and the video."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest

from common.errors import RenderError, SettingError
from demonstrations.config import Style
from demonstrations.scripted import Scripted
from reports.demonstrations import SheetSettings, gather_ways, show_demonstrations
from reports.moments import find_moments
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.trajectories import TrajectoryFile, TrajectoryWriter
from simulation.tasks import get_task

TASK = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
SMALL = SheetSettings(size=64)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of two scripted episodes of two ways, the second one said to be a person's, too."""
    path = tmp_path_factory.mktemp("demonstrations") / "a.hdf5"
    env, scripted = Environment(TASK, embedded_pack()), Scripted(TASK)
    with TrajectoryWriter(path, TASK, embedded_pack(), {}) as writer:
        for index, way in enumerate(scripted.ways[:2]):
            env.reset(index, index)
            env.settle()
            episode = scripted.demonstrate(env, way, np.random.default_rng(0), Style())
            writer.add(index, episode)
        writer.add(2, episode.with_info(way="", method="human"))
        writer.finish().close()
    return path


def commands(*runs: tuple[int, int]) -> np.ndarray:
    """Return actions (T, 7) with the fingers commanded as runs of (steps, sign) say."""
    actions = np.zeros((sum(steps for steps, _ in runs), 7))
    actions[:, 6] = np.concatenate([np.full(steps, sign) for steps, sign in runs])
    return actions


def test_moments_of_a_grasp_are_when_the_fingers_close_and_open() -> None:
    moments = find_moments(commands((30, -1), (40, 1), (20, -1)))
    assert [(moment.step, moment.name) for moment in moments] == [
        (0, "start"),
        (35, "fingers close"),
        (52, "middle"),
        (75, "fingers open"),
        (90, "end"),
    ]
    assert moments[1].caption == "fingers close, 1.8 s"


def test_moments_of_two_grasps_of_a_kept_object_and_of_a_push() -> None:
    twice = find_moments(commands((9, -1), (20, 1), (9, -1), (2, 1), (9, -1), (30, 1)))
    assert [m.name for m in twice].count("fingers close") == 2
    assert [m.name for m in twice].count("fingers open") == 1
    assert [m.step for m in twice] == sorted(m.step for m in twice)
    push = find_moments(commands((40, 1)))
    assert [moment.step for moment in push] == [0, 10, 20, 30, 40]
    assert all(m.step in (0, 1) for m in find_moments(commands((1, -1))))


def test_ways_come_in_the_files_order_with_people_beside_them(path: Path) -> None:
    with TrajectoryFile(path) as file:
        ways = gather_ways(file)
        assert [(way.name, way.method) for way in ways] == [
            ("left", "scripted"),
            ("right", "scripted"),
            ("human", "human"),
        ]
        assert [way.example for way in ways] == [0, 1, 2]
        assert ways[0].mean_length == ways[0].example_steps == len(file[0])


def test_a_sheet_and_a_video_lie_beside_the_file_and_are_made_once(path: Path) -> None:
    sheet, video = show_demonstrations(path, settings=SMALL)
    assert (sheet, video) == (path.with_suffix(".png"), path.with_suffix(".mp4"))
    picture = iio.imread(sheet).astype(int)
    assert picture.shape[1] == 960 and picture.shape[0] > 3 * 64 + 300
    tops = [25 + row * (64 + 19 + 6) for row in range(3)]
    cells = [[picture[y : y + 64, x : x + 64] for x in range(76, 400, 70)] for y in tops]
    for row in cells:  # the arm moves from moment to moment, and each picture shows something
        assert all(np.abs(a - b).mean() > 1 for a, b in itertools.pairwise(row))
        assert all(cell.std() > 10 for cell in row)
    assert np.abs(cells[0][2] - cells[1][2]).mean() > 1
    np.testing.assert_array_equal(cells[1][2], cells[2][2])
    colours = [tuple(picture[y + 32, 10]) for y in tops]
    assert len(set(colours)) == 3
    plots = picture[tops[2] + 90 :].reshape(-1, 3)
    assert all((np.abs(plots - colour).sum(axis=1) < 30).sum() > 50 for colour in colours)
    reader = imageio_ffmpeg.read_frames(str(video))
    meta, frames = next(reader), [np.frombuffer(f, np.uint8).astype(int) for f in reader]
    assert meta["size"] == (6 + 3 * 70, 114) and 10 < len(frames) <= 61
    assert np.abs(frames[0] - frames[-1]).mean() > 3
    for made in (sheet, video):
        os.utime(made, (2e9, 2e9))
    show_demonstrations(path, settings=SMALL)
    assert sheet.stat().st_mtime == video.stat().st_mtime == 2e9
    show_demonstrations(path, settings=replace(SMALL, camera="robot0_eye_in_hand"))
    assert not np.array_equal(iio.imread(sheet).astype(int), picture)


def test_mistakes_are_one_error(path: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="64 pixels"):
        SheetSettings(size=10)
    copy = tmp_path / "copy.hdf5"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(RenderError, match="this task has"):
        show_demonstrations(copy, settings=SheetSettings("front", 64))
    assert [p.name for p in tmp_path.iterdir()] == ["copy.hdf5"]
