"""The table of demonstrations: totals, a row a task, and the entries that others read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from analysis.ways import Accuracy, Distinctness
from common.errors import DemonstrationError
from demonstrations.config import DemonstrationConfig
from demonstrations.make import make_demonstrations
from demonstrations.measured import Measured, MeasuredWay
from reports.demonstrations_table import write_pictures, write_table
from simulation.assets.resolve import embedded_pack
from simulation.tasks import get_task

STOVE, PLATE = "libero_goal/turn_on_the_stove", "libero_goal/put_the_bowl_on_the_plate"
APART = Distinctness(Accuracy(36, 36), Accuracy(18, 36), Accuracy(36, 36))
RECORD = Measured(
    task=STOVE,
    pack="libero",
    source="scripted",
    ways=(MeasuredWay("twist", 20, 20, 80.0), MeasuredWay("push", 20, 11, 100.0)),
    seconds=12.345,
    human_length=91,
    distinctness=None,
    seed=7,
    asset_digest="0123456789abcdef",
    versions={"mujoco": "3.3.2"},
    machine={"cpu": "a processor", "cores": 2},
)
TWO = tuple(MeasuredWay(name, 20, 18, 120.0) for name in ("left", "right"))
RECORDS = [
    replace(RECORD, source="human", ways=(MeasuredWay("human", 1, 1, 91.0),)),
    replace(RECORD, source="amplified", ways=TWO, distinctness=APART),
    RECORD,
    replace(RECORD, task=PLATE, pack="embedded", ways=TWO, human_length=None),
]


def test_totals_take_the_best_source_and_rows_show_all(tmp_path: Path) -> None:
    page = write_table(RECORDS, tmp_path)[0].read_text()
    real, embedded = page.split("## With the embedded pack")
    assert "| libero_goal | 10 | 1 | 1 | 1 | 0 |" in real
    assert "| all | 130 | 1 | 1 | 1 | 0 |" in real
    (row,) = (line for line in real.splitlines() if line.startswith("| `turn_on_the_stove`"))
    assert [cell.strip().split("<br>") for cell in row.split("|")[2:-1]] == [
        ["scripted", "amplified", "human"],
        ["1", "2", "1"],
        ["twist 20/20, push 11/20", "left 18/20, right 18/20", "human 1/1"],
        ["87 (91)", "120 (91)", "91 (91)"],
        ["-", "100% / 50% / 100% of 36", "-"],
    ]
    assert "yaw 50% (0 tasks at 97% or more)" in real
    assert "| `put_the_bowl_on_the_plate` | scripted | 2 |" in embedded
    assert "12 successes are 39% to 78%" in " ".join(page.split())
    assert "seed 7" in embedded and "libero 0123456789ab" in embedded
    assert not any(line.endswith(" ") for line in page.splitlines())


def test_people_alone_give_no_way(tmp_path: Path) -> None:
    page = write_table(RECORDS[:1], tmp_path)[0].read_text()
    assert "| libero_goal | 10 | 0 | 0 | 0 | 0 |" in page and "human 1/1" in page


def test_entries_have_just_these_keys(tmp_path: Path) -> None:
    entries = json.loads(write_table(RECORDS, tmp_path)[1].read_text())
    places = [(e["pack"], e["source"], e["task"]) for e in entries]
    assert places == [
        ("libero", "scripted", STOVE),
        ("libero", "amplified", STOVE),
        ("libero", "human", STOVE),
        ("embedded", "scripted", PLATE),
    ]
    assert entries[0] == {
        "task": STOVE,
        "pack": "libero",
        "source": "scripted",
        "ways": [
            {"name": "twist", "tried": 20, "succeeded": 20},
            {"name": "push", "tried": 20, "succeeded": 11},
        ],
        "seconds": 12.3,
    }


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DemonstrationError, match="two records"):
        write_table([RECORD, RECORD], tmp_path)
    with pytest.raises(DemonstrationError, match="no task"):
        write_table([replace(RECORD, task="libero_goal/dance")], tmp_path)
    assert not list(tmp_path.iterdir())


def test_small_pictures_are_linked_in_the_table_of_their_assets(tmp_path: Path) -> None:
    sheet = tmp_path / "run" / f"{PLATE}.png"
    sheet.parent.mkdir(parents=True)
    source = DemonstrationConfig(1, "scripted", seed=3)
    make_demonstrations(
        get_task(PLATE), sheet.with_suffix(".hdf5"), source, embedded_pack()
    ).close()
    Image.new("RGB", (1280, 800), "navy").save(sheet)
    (picture,) = write_pictures(tmp_path / "run", tmp_path)
    assert picture.relative_to(tmp_path).as_posix() == f"demonstrations/embedded/{PLATE}.webp"
    with Image.open(picture) as small:
        assert small.size == (640, 400)
    records = [*RECORDS, replace(RECORD, task=PLATE)]
    real, embedded = write_table(records, tmp_path)[0].read_text().split("## With the embedded")
    assert f"| [`put_the_bowl_on_the_plate`](demonstrations/embedded/{PLATE}.webp) |" in embedded
    assert "| `put_the_bowl_on_the_plate` |" in real


def test_pictures_that_are_not_there_or_damaged_are_named(tmp_path: Path) -> None:
    with pytest.raises(DemonstrationError, match="--show"):
        write_pictures(tmp_path, tmp_path)
    sheet = tmp_path / f"{PLATE}.png"
    sheet.parent.mkdir()
    sheet.write_bytes(b"no picture")
    with pytest.raises(DemonstrationError, match="draw it again"):
        write_pictures(tmp_path, tmp_path)
