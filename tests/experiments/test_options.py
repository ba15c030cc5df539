"""Each option of PPO starts from one and the same clone."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from common.errors import UsageError
from common.json_files import read_sealed
from experiments.options import OPTIONS, OptionsItem, train, try_all, try_options
from generator.config import GeneratorConfig
from generator.recipes import RecipeError
from simulation.assets.resolve import AssetPack
from tests.generator.conftest import PointMasses, point_mass_demonstrations
from tests.generator.test_recipes import BRIEF, TASK


def test_options_share_a_clone(tmp_path: Path) -> None:
    demonstrations = point_mass_demonstrations(12)
    rows = {
        option: train(option, "o2o_rl", TASK, PointMasses(), demonstrations, BRIEF, tmp_path)
        for option in OPTIONS
    }
    assert len({str(row["before"]) for row in rows.values()}) == 1
    made = [path.name.split("-")[0] for path in (tmp_path / "stages").glob("[!.]*")]
    assert made.count("learn") == 1 and made.count("reinforce") == len(OPTIONS)
    assert made.count("filter") == 3  # whose thresholds and next budget two options change
    assert "reach/0" in rows["demonstration_starts"]["history"][0]
    assert all(row["cost"]["cpu_minutes"] > 0 for row in rows.values())


@pytest.mark.parametrize("recipe", ["diffusion_rl", "gaussian_rl", "dlr_diffusion", "clone"])
def test_a_recipe_without_both_stages_is_refused_before_anything_is_made(
    recipe: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"{recipe} does not end with filter and reinforce; .*dlr"):
        try_all(recipe=recipe, run=tmp_path / "run", out=tmp_path / "out")
    with pytest.raises(RecipeError, match="unknown recipe"):
        try_all(recipe="dlrr", run=tmp_path / "run", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_recipes_have_results_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made_up(option: str, recipe: str, *given: object) -> dict[str, object]:
        return {"before": [], "after": [], "environment_steps": {"total": len(recipe)}}

    monkeypatch.setattr("experiments.options.train", made_up)
    monkeypatch.setattr("demonstrations.make.make_demonstrations", lambda *given: nullcontext())
    monkeypatch.setattr("demonstrations.make.observe", lambda *given: [])
    monkeypatch.setattr("simulation.environment.Environment", lambda *given: None)
    monkeypatch.setattr(
        "simulation.environment.BatchEnvironment", lambda *given, **named: nullcontext()
    )
    pack = AssetPack("local", tmp_path, "0" * 64)
    for recipe in ("dlr", "o2o_rl"):
        item = OptionsItem(
            TASK.key, recipe, ("none",), 1, pack, tmp_path, tmp_path, GeneratorConfig()
        )
        try_options(item)
    for recipe in ("dlr", "o2o_rl"):
        path = tmp_path / TASK.key / recipe / "none.json"
        assert read_sealed(path, "a result", UsageError, "")["recipe"] == recipe
