"""The whole line through the command, as a user runs it: the drawer, few steps, killed and gone on.

What each stage does is tested beside it; here they meet, in processes of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.workers import Processes, run_items
from dataset_builders.episodes import PictureConfig
from dataset_builders.parts import PartItem, render_part
from dataset_builders.provenance import describe_files
from dataset_builders.rollouts.find import find
from dataset_builders.sources import Choice, choose_episodes
from generator.config import CollectConfig
from simulation.assets.resolve import embedded_pack
from tests.dataset_builders.parts_support import Here

TASK = "libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"
RECIPES = ("dlr", "o2o_rl")
SHORT = (
    "--discover.steps=300", "--learn.steps=1500", "--evaluation.episodes=2", "--slots=6",
    "--reinforce.iterations=1", "--reinforce.episodes=2", "--reinforce.evaluate-every=1",
    "--reinforce.evaluation-episodes=1", "--reinforce.epochs=1", "--reinforce.critic-warmup=0",
    "--reinforce.budget.weak=0",
)  # fmt: skip


def dlr(*arguments: object) -> list[str]:
    """Return the command line of `dlr`."""
    return [sys.executable, "-m", "cli.main", *map(str, arguments)]


def run(*arguments: object) -> str:
    """Run `dlr` to its end; return what it prints."""
    done = subprocess.run(dlr(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
    return done.stdout


def kill_once(reached: Callable[[], bool], *arguments: object) -> None:
    """Start `dlr` and end it and its children by SIGKILL as soon as something is reached."""
    process = subprocess.Popen(dlr(*arguments), start_new_session=True, stderr=subprocess.DEVNULL)
    while not reached():
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that both recipes have gone through, one of them killed on the way."""
    folder = tmp_path_factory.mktemp("line")
    place = ("--run", folder, "--assets", "embedded")
    run("demonstrate", TASK, *place, "--episodes-per-way", 3, "--fresh-share", 0)
    learned = folder / "policies" / TASK / "stages"
    kill_once(lambda: any(learned.glob("discover-*/record.json")), "train", TASK, *place, *SHORT)
    assert not any(learned.glob("learn-*/record.json"))
    others = ("--demonstrations.episodes-per-way", 3, "--demonstrations.fresh-share", 0,
              "--collect.episodes", 3, "--collect.maximum-attempts", 40)  # fmt: skip
    said = run("generate", TASK, *place, *SHORT, *others, "--build")
    assert "5 of 5 done, 0 failed" in said
    return folder


def test_stages_are_done_once_and_shared_by_name(line: Path) -> None:
    folders = (line / "policies" / TASK / "stages").iterdir()
    stages = sorted(path.name.split("-")[0] for path in folders if path.name[0] != ".")
    assert stages == ["discover", *(["filter"] * 2), *(["learn"] * 2), *(["reinforce"] * 2)]
    for recipe in RECIPES:
        path = line / "policies" / TASK / recipe / "seed_0" / "recipe.json"
        summary = json.loads(path.read_text())
        assert summary["recipe"] == recipe and summary["config"]["learn"]["steps"] == 1500


def test_datasets_are_what_was_collected(line: Path) -> None:
    for recipe in RECIPES:
        said = run("verify", line / "dataset_parts" / TASK / "libero_rl" / recipe / "1.0.0")
        assert "3 episodes" in said


def told_by(data: Path) -> dict[str, Any]:
    """Return what a dataset's metadata say."""
    (path,) = data.glob("libero_rl/*/1.0.0/metadata.json")
    return dict(json.loads(path.read_text()))


def test_policies_are_rolled_out_to_the_same_episodes(line: Path, tmp_path: Path) -> None:
    """Of a copy of the policies alone: every trajectory, and one episode as it is published."""
    shutil.copytree(line / "policies", tmp_path / "policies", symlinks=True)
    pack, config = str(embedded_pack().path), CollectConfig(episodes=3, maximum_attempts=40)
    earlier = tmp_path / "policies" / TASK / "dlr"
    (earlier / "seed_0.earlier").symlink_to(earlier / "seed_0")  # is of no seed
    found = find(tmp_path, Choice("dlr+dlr"), config, pack)
    rolled, (source,) = found.roll_out(tmp_path / "attempts", Processes(1))
    collected = choose_episodes(line, Choice("dlr"))
    told = [[(r.key, r.task, r.info, r.steps, r.digest) for r in s] for s in (rolled, collected)]
    assert told[0] == told[1] and len(rolled) == 3
    (recorded,) = describe_files(collected)
    assert source["config"] == recorded["config"] and source["attempts"] == recorded["attempts"]
    assert "3 episodes rolled out with policies/" in str(found)
    pictures = PictureConfig(24, assets=pack)
    items = [
        PartItem(ref, pictures, str(tmp_path / name))
        for ref, name in ((rolled[0], "rolled"), (collected[0], "collected"))
    ]
    assert len(set(run_items(render_part, items, Processes(1)))) == 1
    assert items[0].path.read_bytes() == items[1].path.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "attempts").iterdir()}
    assert found.roll_out(tmp_path / "attempts", Here())[0] == rolled  # (nothing is left to do)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "attempts").iterdir()}


@pytest.mark.slow
def test_policies_are_rolled_out_to_the_same_dataset(line: Path, tmp_path: Path) -> None:
    """By processes, one killed, and by Beam, from a copy of the policies alone."""
    alone, small = tmp_path / "run", ("--resolution", 24, "--assets", "embedded")
    shutil.copytree(line / "policies", alone / "policies", symlinks=True)
    rolled = ("--collect.episodes", 3, "--collect.maximum-attempts", 40)
    run("build", "--trajectories", line, "--data-dir", tmp_path / "a", *small)
    pool = ("build", "--trajectories", alone, "--data-dir", tmp_path / "b", *small, *rolled)
    kill_once(lambda: any((tmp_path / "b").rglob("attempts/*.json")), *pool)
    run(*pool)
    options = ("--beam-pipeline-options", "runner=FnApiRunner")
    run("build", "--trajectories", alone / "policies", "--data-dir", tmp_path / "c", *small,
        *rolled, *options)  # fmt: skip
    collected, *others = (told_by(tmp_path / name) for name in "abc")
    for other in others:
        assert other["digest"] == collected["digest"]
        assert other["episodes"] == collected["episodes"]
        (theirs,), (ours,) = collected["sources"], other["sources"]
        assert ours["config"] == theirs["config"] and ours["attempts"] == theirs["attempts"]
        assert ours["file"].endswith(f"{TASK}/dlr/seed_0/reinforce/policy.safetensors")
    shards = [next((tmp_path / name).rglob("*.tfrecord-*")).read_bytes() for name in "abc"]
    assert shards[0] == shards[1] == shards[2]


def test_report_compares_the_recipes(line: Path) -> None:
    run("report", "--run", line)
    numbers = json.loads((line / "report.json").read_text())
    assert set(numbers["tasks"][0]["recipes"]) == {"DLR", "O2O-RL"}
    assert "<html" in (line / "report.html").read_text()


def test_policy_is_evaluated(line: Path) -> None:
    policy = line / "policies" / TASK / "dlr/seed_0"
    run("eval", "run", f"generator:{policy}#0", "--protocol", "libero", "--tasks", TASK,
        "--episodes", 1, "--no-preflight", "--assets", "embedded",
        "--out", line / "results")  # fmt: skip
    config = json.loads((line / "results/config.json").read_text())
    assert config["policy"]["pattern"] == 0
    assert len((line / "results/episodes.jsonl").read_text().splitlines()) == 1
