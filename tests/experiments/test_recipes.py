"""Recipes beside each other on one task with tiny trainings, every link for real."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.trajectories import Trajectory
from common.errors import DlrError
from demonstrations.config import DemonstrationConfig
from experiments.recipes import figures
from experiments.recipes.page import claims
from experiments.recipes.quality import (
    Quality,
    QualityError,
    TaskQuality,
    measure,
    read_quality,
)
from experiments.recipes.run import TASKS, WANTED, plan_recipes, recipes
from experiments.recipes.variants import ABLATIONS, BETAS, VARIANTS
from experiments.study_results import Measured, StageResult, StudyResult, read_results
from generator.config import ChunkFinetuningConfig, CollectConfig, DiffusionConfig, GeneratorConfig
from generator.recipes import RECIPES
from generator.work.items import Demonstrate
from generator.work.plan import Settings
from reports.run_outcomes import Count
from simulation.assets.resolve import embedded_pack
from simulation.tasks import get_task
from tests.experiments.test_study import DRAWER
from tests.experiments.test_study import TINY as STUDY
from tests.generator.work.plans import check_none_in_anothers_way

BY_NAME = {variant.name: variant for variant in VARIANTS}
TINY = replace(
    STUDY,
    diffusion=DiffusionConfig(
        channels=(32,), hidden=(32,), steps=4, batch_size=8,
        finetuning=ChunkFinetuningConfig(episodes=3),
    ),
)  # fmt: skip


def test_variants_are_recipes_with_settings_changed() -> None:
    assert len(BY_NAME) == len(VARIANTS) and all(v.recipe in RECIPES for v in VARIANTS)
    assert {v.name for v in VARIANTS if not v.changes} <= set(RECIPES)
    assert sum(v.seeds == 3 for v in VARIANTS) == 4 and set(ABLATIONS) < set(BY_NAME)
    found = {name: BY_NAME[name].config(GeneratorConfig()) for name in (*ABLATIONS, *BETAS)}
    assert found["diffusion_mlp"].diffusion.network == "mlp"
    ddpm = found["diffusion_ddpm"].diffusion.chain
    assert (ddpm.sampler, ddpm.levels, ddpm.finetuned_steps) == ("ddpm", 20, 10)
    assert found["diffusion_fixed"].diffusion.finetuning.annealing == "fixed"
    assert found["diffusion_few"].diffusion.finetuning.episodes == 8
    for name, beta in BETAS.items():
        assert name == "dlr" or found[name].information.beta == beta


def test_people_are_measured_where_there_are_some(tmp_path: Path) -> None:
    shown, collect = DemonstrationConfig(2, "scripted"), CollectConfig()
    settings = Settings((), (0,), shown, TINY, collect, collect)
    bowl, drawer, _ = (get_task(task) for task in TASKS)
    (tmp_path / f"{drawer.name}.json").touch()
    plan = plan_recipes(
        tmp_path, (bowl, drawer), VARIANTS[:1], settings, embedded_pack(),
        (tmp_path, tmp_path), str(tmp_path),
    )  # fmt: skip
    shows = [item.task for item in plan.items if isinstance(item, Demonstrate)]
    assert sorted(shows) == sorted([bowl.key, drawer.key, drawer.key])


def test_what_is_wanted_most_is_done_first(tmp_path: Path) -> None:
    shown, collect = DemonstrationConfig(2, "scripted"), CollectConfig()
    settings = Settings((), (0, 1), shown, TINY, collect, collect)
    tasks = [get_task(task) for task in TASKS[:2]]
    out = tmp_path, tmp_path
    plan = plan_recipes(tmp_path, tasks, VARIANTS, settings, embedded_pack(), out, "official")
    check_none_in_anothers_way(plan)
    whats = [item.what for item in plan.items]
    trained = [w for w in whats if " seed " in w and "measures" not in w and " of " not in w]
    first = [f"{name} seed 0" for name in WANTED]
    assert set(trained[:10]) == set(first) and all(trained[:10].count(what) == 2 for what in first)
    rest = [f"{v.name} seed 0" for v in VARIANTS if v.name not in WANTED]
    assert trained[10:26] == rest * 2
    assert set(trained[26:]) == {f"{v.name} seed 1" for v in VARIANTS if v.seeds > 1}
    told = [i for i, what in enumerate(whats) if what == "quality of episodes"]
    assert len(told) == 4 and told[1] < whats.index("dlr_diffusion seed 0") < told[2]
    assert told[3] < whats.index("dlr seed 1")
    measured = [i for i in plan.after.items[told[0]] if "measures" in whats[i]]
    assert {whats[i] for i in measured} == {f"measures of {what}" for what in first}
    folders = {v.folder(tmp_path).trajectories(tasks[0], v.recipe, 0) for v in VARIANTS}
    assert len(folders) == len(VARIANTS)
    assert len({v.folder(tmp_path).stages(tasks[0]) for v in VARIANTS}) == 1


def test_variants_alone_have_demonstrations_and_share_their_stages(tmp_path: Path) -> None:
    shown, collect = DemonstrationConfig(2, "scripted"), CollectConfig()
    settings = Settings((), (0,), shown, TINY, collect, collect)
    chosen = [v for v in VARIANTS if v.name not in WANTED]
    tasks, out = [get_task(TASKS[0])], (tmp_path, tmp_path)
    plan = plan_recipes(tmp_path, tasks, chosen, settings, embedded_pack(), out)
    check_none_in_anothers_way(plan)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_task_is_trained_measured_and_told(tmp_path: Path) -> None:
    out, told = tmp_path / "results", tmp_path / "told.md"
    chosen = ("dlr", "mi_shaped_beta_0.1", "diffusion_rl", "diffusion_mlp")
    arguments: dict[str, Any] = {
        "tasks": (DRAWER,), "seeds": (0,), "variants": chosen, "run": tmp_path / "run", "out": out,
        "quality_out": tmp_path / "quality", "page_file": told, "episodes_per_way": 3,
        "assets": Path("embedded"), "train": TINY,
        "collect": CollectConfig(episodes=3, maximum_attempts=1, require_all=False), "slots": 3,
    }  # fmt: skip
    recipes(**arguments)
    found = {result.recipe: result for result in read_results(out)}
    assert set(found) == set(chosen)
    assert found["mi_shaped_beta_0.1"].provenance["config"]["information"]["beta"] == 0.1
    assert len(found["dlr"].stages["reinforce"].success) == 3
    assert len(found["diffusion_rl"].stages["reinforce"].success) == 1
    kept = read_quality(tmp_path / "quality" / f"{DRAWER}.json")
    assert "scripted" in kept.sources
    assert set(kept.without_noise) <= set(kept.sources) - {"scripted"}
    for name, quiet in kept.without_noise.items():
        assert list(quiet.jerks) != list(kept.sources[name].jerks)
    assert "| Diffusion RL: MLP for U-Net | 1 |" in told.read_text()
    assert (tmp_path / "told" / "beta.png").exists()
    stages = sorted(path.name for path in (tmp_path / "run/policies" / DRAWER / "stages").iterdir())
    assert sum(name.startswith("discover-") for name in stages if "." not in name) == 1
    shutil.rmtree(tmp_path / "quality")
    for name in ("dlr", "diffusion_mlp"):
        shutil.rmtree(out / DRAWER / name)
    recipes(**arguments, report=True)
    partial = told.read_text()
    assert partial.startswith("# Recipes of the two papers\n\n2 trainings;")
    assert "| Diffusion RL | 1 |" in partial and "MLP for U-Net" not in partial


def result(recipe: str, success: int, figures_: dict[str, float]) -> StudyResult:
    """Return a training's result."""
    measured = Measured(20, figures_, {}, {})
    stage = StageResult([Count(success, 50)], {"environment_steps": {"total": 9}}, (), measured)
    stages = {"learn": stage, "reinforce": stage}
    return StudyResult("suite/task", recipe, 0, stages, "reinforce", measured, 60.0)


def quality(jerk: float, no_ops: int = 0) -> Quality:
    """Return what a source's episodes are like."""
    ones = [[0.5] * 7] * 3
    return Quality([no_ops, 0], [90, 110], [jerk, jerk], ones, ones)


def test_claims_hold_or_do_not() -> None:
    noisy = {"diffusion_rl": quality(20.0, 1), "gaussian_rl": quality(30.0), "people": quality(9.0)}
    found = TaskQuality(0, noisy, {"diffusion_rl": quality(8.0), "gaussian_rl": quality(7.0)})
    told = claims([result("diffusion_rl", 46, {})], {"suite/task": found})
    assert "success of 90% or more: yes (92% (81% to 97%) of 50)" in told
    assert "less jerk than Gaussian RL, the same network: yes (20 against 30)" in told
    assert "less jerk than people: no (20 against 9)" in told
    assert "no no-op: no (1 in 2 episodes)" in told
    assert "less jerk without noise than Gaussian RL, the same network: no (8 against 7)" in told
    assert "less jerk without noise than people: yes (8 against 9)" in told
    assert "no no-op without noise: yes (0 in 2 episodes)" in told
    alone = TaskQuality(0, noisy, {"diffusion_rl": quality(8.0)})
    told = claims([], {"suite/task": alone}) + claims([result("dlr", 9, {})], {"suite/task": alone})
    assert "less jerk without noise than people: yes" in told
    assert "without noise than Gaussian" not in told


def test_figures_are_drawn_of_what_is_there(tmp_path: Path) -> None:
    runs = [result("dlr", 50, {"mode_entropy": 1.0}), result("mi_shaped", 25, {})]
    assert figures.beta_points(runs) == {"suite/task": [(0.0, 1.0, 1.0), (0.01, 0.5, None)]}
    assert figures.over_beta(runs, tmp_path / "beta.png")
    assert not figures.over_beta(runs[:1], tmp_path / "none.png")
    sources = {"people": quality(3.0), "diffusion_rl": quality(2.0)}
    quiet = {"diffusion_rl": quality(1.0)}
    assert figures.figure_6({"suite/task": TaskQuality(0, sources, quiet)}, tmp_path / "six.png")
    assert figures.figure_7(sources, tmp_path / "seven.png")
    assert not figures.figure_6({}, tmp_path / "none.png")
    assert not figures.figure_7({}, tmp_path / "none.png")
    assert {path.name for path in tmp_path.iterdir()} == {"beta.png", "six.png", "seven.png"}


def test_quality_is_measured_of_successes() -> None:
    still = np.tile([0.1, 0, 1, 3, 0, 0, 0.04, -0.04], (6, 1))
    moving = still + np.linspace(0, 0.1, 6)[:, None] * np.eye(8)[0]
    episodes = [
        Trajectory(path, None, -1, seed, -1, success, np.full((5, 7), 0.1 * seed))
        for seed, (path, success) in enumerate([(still, True), (moving, True), (moving, False)])
    ]
    found = measure(episodes)
    assert found is not None and list(found.no_ops) == [5, 0] and list(found.lengths) == [5, 5]
    np.testing.assert_allclose(np.array(found.mean_action), 0.05)
    np.testing.assert_allclose(np.array(found.deviation), 0.1 / np.sqrt(2))
    assert measure(episodes[2:]) is None


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(DlrError, match=r"no variant diffusion_rll; there are dlr, "):
        recipes(variants=("diffusion_rll",), run=tmp_path)
    path = tmp_path / "quality.json"
    path.write_text(json.dumps({"sources": {}}))
    with pytest.raises(QualityError, match="it has no sha256"):
        read_quality(path)
