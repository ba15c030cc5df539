"""A new skill and a new recipe are known everywhere by one line in a table."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cli.main import main
from demonstrations.config import Style
from demonstrations.scripted import Scripted
from demonstrations.skills.skill import Atom, Skill, Waypoint
from demonstrations.skills.table import SKILLS
from generator.checkpoints import load_policy
from generator.recipes import RECIPES, Recipe, run_recipe
from generator.stages import Learn
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.tasks import get_task
from tests.generator.conftest import PointMasses, point_mass_demonstrations
from tests.generator.test_recipes import CONFIG

STOVE = get_task("libero_90/KITCHEN_SCENE3_turn_on_the_stove")
PLAIN = Recipe("plain", "Plain", "Successful episodes of a clone.", (Learn(),))


class Reach(Skill):
    """Moves over the knob and does nothing there."""

    ways = ("above",)

    def fits(self, atom: Atom) -> bool:
        return len(atom) == 2

    def plan(
        self, env: Environment, atom: Atom, way: str, rng: np.random.Generator
    ) -> Iterator[Waypoint]:
        yield Waypoint(env.object_position(atom[1]) + np.array([0.0, 0.0, 0.15]))


def test_a_skill_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SKILLS, "turnon", (Reach(),))
    demonstrator = Scripted(STOVE)
    env = Environment(STOVE, embedded_pack())
    env.reset(0, 0)
    target = env.object_position(STOVE.goal[0][1]) + np.array([0.0, 0.0, 0.15])
    episode = demonstrator.demonstrate(
        env, "above", np.random.default_rng(0), Style(tremor=0, aim=0)
    )
    assert episode.info.way == "above" and not episode.info.success
    assert np.linalg.norm(episode.final_proprio[:3] - target) < 0.03
    main(["tasks", STOVE.key])
    assert "scripted" in capsys.readouterr().out


def test_a_recipe_is_one_line(tmp_path: Path) -> None:
    demonstrations = point_mass_demonstrations()
    folder = tmp_path / "plain"
    folder.mkdir()
    run_recipe(PLAIN, STOVE, PointMasses(), demonstrations, CONFIG, folder, tmp_path / "stages")
    assert load_policy(folder / "learn/policy.safetensors")[0].patterns == 0
    assert "plain" not in RECIPES
    code = (
        "import generator.recipes as r; from generator.stages import Learn; "
        "r.RECIPES['plain'] = r.Recipe('plain', 'Plain', 'Of a clone.', (Learn(),)); "
        "from dataset_builders.libero_rl.libero_rl_dataset_builder import LiberoRl; "
        "print([c.method for c in LiberoRl.BUILDER_CONFIGS]); "
        "from cli.main import main; main(['collect', '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'plain'" in done.stdout and ",plain}" in done.stdout.replace("\n", "")
