"""Recipes run their stages once; stages are keyed by what they read, and shared."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from common.errors import CheckpointError, DemonstrationError, SettingError
from common.json_files import write_sealed
from demonstrations.demonstration import Demonstration
from generator.checkpoints import UNFINISHED, load_policy, policy_hash
from generator.config import (
    BudgetConfig,
    ChunkFinetuningConfig,
    DiffusionConfig,
    DiscoverConfig,
    EvaluationConfig,
    FilterConfig,
    GeneratorConfig,
    InformationConfig,
    LearnConfig,
    ReinforceConfig,
)
from generator.context import Context
from generator.policies.diffusion import DiffusionPolicy
from generator.policies.network_chunk import NetworkChunkPolicy
from generator.policies.policy import Policy
from generator.recipes import RECIPES, RecipeError, TrainedRecipe, get_recipe, run_recipe
from generator.stages import RECORD, dlr, read_record
from simulation.tasks import get_task
from tests.generator.conftest import PointMasses

TASK = get_task("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
CONFIG = GeneratorConfig(
    discover=DiscoverConfig(steps=600),
    learn=LearnConfig(steps=600, hidden=(128, 128), ema_decay=0.99),
    reinforce=ReinforceConfig(
        iterations=2,
        episodes=4,
        critic_warmup=1,
        warmup_episodes=2,
        budget=BudgetConfig(weak=0),
        evaluate_every=1,
        evaluation_episodes=3,
        epochs=2,
        critic_hidden=(128, 128),
    ),
    evaluation=EvaluationConfig(episodes=6),
)


def run(
    root: Path,
    demonstrations: list[Demonstration],
    recipe: str = "dlr",
    config: GeneratorConfig = CONFIG,
    environments: PointMasses | None = None,
) -> TrainedRecipe:
    """Run a recipe with one folder of stages below `root`."""
    folder = root / recipe / f"seed_{config.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    return run_recipe(
        get_recipe(recipe),
        TASK,
        environments or PointMasses(),
        demonstrations,
        config,
        folder,
        root / "stages",
    )


FILTERING = dataclasses.replace(
    CONFIG, filtered=FilterConfig(episodes=6, wave=3),
    reinforce=dataclasses.replace(CONFIG.reinforce, budget=BudgetConfig(weak=1.01)),
)  # fmt: skip


Ended = tuple[str, Any, int, int]
"""Hash, reports, environment steps and gradient steps of a run."""


@contextmanager
def gradient_steps() -> Iterator[list[None]]:
    """Fill a list by one entry for every step of any optimiser meanwhile."""
    taken: list[None] = []
    hook = register_optimizer_step_post_hook(lambda *_: taken.append(None))
    try:
        yield taken
    finally:
        hook.remove()


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, demonstrations: list[Demonstration]
) -> Ended:
    """A run of `o2o_rl` that nothing ends early."""
    whole = PointMasses()
    with gradient_steps() as taken:
        found = run(tmp_path_factory.mktemp("whole"), demonstrations, "o2o_rl", FILTERING, whole)
    return policy_hash(found.policy), found.reports, whole.steps, len(taken)


@pytest.mark.parametrize("evaluation", [1, 2, 3])
def test_what_ends_a_stage_can_be_killed_and_costs_nothing(
    tmp_path: Path,
    demonstrations: list[Demonstration],
    undisturbed: Ended,
    evaluation: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of `o2o_rl`'s three trained stages, whose evaluation comes when all else is done."""
    begun = PointMasses()
    measure, calls = dlr._held_out, iter(range(1, 4))

    def killed(context: Context, policy: Policy) -> Any:
        if next(calls) == evaluation:
            raise KeyboardInterrupt
        return measure(context, policy)

    monkeypatch.setattr(dlr, "_held_out", killed)
    with gradient_steps() as taken:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "b", demonstrations, "o2o_rl", FILTERING, begun)
        monkeypatch.setattr(dlr, "_held_out", measure)
        again = run(tmp_path / "b", demonstrations, "o2o_rl", FILTERING, begun)
    assert (policy_hash(again.policy), again.reports, begun.steps, len(taken)) == undisturbed
    left = {path.name for path in (tmp_path / "b" / "stages").glob("*/*")}
    assert left.isdisjoint(UNFINISHED)


@pytest.mark.parametrize(
    ("stage", "changed", "message"),
    [
        ("discover", {"patterns": 0}, "--discover.patterns is 1 or more, not 0"),
        ("learn", {"validate_every": 0}, "--learn.validate-every is 1 or more"),
        ("learn", {"validation_share": 1.0}, r"--learn.validation-share lies in \[0, 1\)"),
        ("evaluation", {"episodes": 0}, "--evaluation.episodes is 1 or more"),
        ("reinforce", {"minibatches": 0}, "--reinforce.minibatches is 1 or more"),
        ("noise", {"std": 0.001}, "--noise.std lies in 0.02 to 0.5 in a recipe with PPO"),
        ("", {"seed": 100}, "--seed lies in 0 to 99, not 100"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_trained(
    tmp_path: Path,
    demonstrations: list[Demonstration],
    stage: str,
    changed: dict[str, Any],
    message: str,
) -> None:
    changes = {stage: dataclasses.replace(getattr(CONFIG, stage), **changed)} if stage else changed
    with pytest.raises(SettingError, match=message):
        run(tmp_path, demonstrations, config=dataclasses.replace(CONFIG, **changes))
    assert not (tmp_path / "stages").exists()


def test_a_shuffled_control_does_not_start_where_patterns_are_told(
    tmp_path: Path, demonstrations: list[Demonstration]
) -> None:
    along = dataclasses.replace(CONFIG.reinforce, demonstration_starts=0.5)
    with pytest.raises(SettingError, match="would tell it the patterns"):
        run(tmp_path, demonstrations, "dlr_shuffled", dataclasses.replace(CONFIG, reinforce=along))


def stages(root: Path) -> list[str]:
    """Return the stages that were run, each as often as it was, in alphabetical order."""
    return sorted(path.name.rpartition("-")[0] for path in (root / "stages").iterdir())


def test_dlr(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    result = run(tmp_path, demonstrations)
    assert result.reports["discover"]["agreement"]["trajectory"] >= 0.8
    assert len(result.reports["reinforce"]["held_out_success"]) == 3
    assert result.encoder is not None and result.policy.patterns == 3
    record = json.loads((tmp_path / "dlr/seed_0/learn/record.json").read_text())
    assert record["settings"]["learn"]["steps"] == 600 and "reinforce" not in record["settings"]
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    untouched = PointMasses()
    again = run(tmp_path, demonstrations, environments=untouched)
    assert untouched.steps == 0
    assert policy_hash(again.policy) == policy_hash(result.policy)
    assert again.reports == result.reports


def test_settings_touch_the_stages_that_read_them(
    tmp_path: Path, demonstrations: list[Demonstration]
) -> None:
    run(tmp_path, demonstrations)
    first = (tmp_path / "dlr/seed_0/reinforce").resolve()
    harder = dataclasses.replace(CONFIG.reinforce, epochs=3)
    run(tmp_path, demonstrations, config=dataclasses.replace(CONFIG, reinforce=harder))
    assert stages(tmp_path) == ["discover", "filter", "learn", "reinforce", "reinforce"]
    assert (tmp_path / "dlr/seed_0/reinforce").resolve() != first
    assert (first / "policy.safetensors").exists()
    run(tmp_path, demonstrations, config=dataclasses.replace(CONFIG, seed=1))
    assert stages(tmp_path) == ["discover"] * 2 + ["filter"] * 2 + ["learn"] * 2 + ["reinforce"] * 3
    hashes = {path.read_bytes() for path in tmp_path.glob("dlr/*/learn/policy.safetensors")}
    assert len(hashes) == 2


def test_what_a_stage_reports_depends_on_what_its_key_reads(
    tmp_path: Path, demonstrations: list[Demonstration]
) -> None:
    """Whichever run comes first, `filter` reports the same to all that share it."""
    budgets = BudgetConfig(0, 0, 900, 300), BudgetConfig(0, 2, 800, 200)
    found: list[Any] = []
    for order in (budgets, budgets[::-1]):
        root = tmp_path / str(len(found))
        for budget in order:
            reinforce = dataclasses.replace(CONFIG.reinforce, budget=budget)
            brief = dataclasses.replace(BRIEF, reinforce=reinforce)
            reports = run(root, demonstrations, "o2o_rl", brief).reports
        assert stages(root) == ["filter", "learn", "reinforce", "reinforce"]
        found.append(reports["filter"])
    assert found[0] == found[1] and not found[0]["need"]["filter_first"]


def test_o2o_rl_has_no_pattern(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    result = run(tmp_path, demonstrations, "o2o_rl")
    assert result.encoder is None and result.policy.patterns == 0
    assert set(result.reports) == {"learn", "filter", "reinforce"}
    first = demonstrations[0]
    seen_otherwise = dataclasses.replace(first, observations=first.observations + 1e-6)
    run(tmp_path, [seen_otherwise, *demonstrations[1:]], "o2o_rl")
    assert stages(tmp_path) == ["filter", "filter", "learn", "learn", "reinforce", "reinforce"]


def test_a_damaged_record_or_result_is_refused(
    tmp_path: Path, demonstrations: list[Demonstration]
) -> None:
    run(tmp_path, demonstrations, "o2o_rl")
    record = tmp_path / "o2o_rl/seed_0/learn" / RECORD
    whole = record.read_text()
    record.write_text(whole.replace("0.5", "0.6"))
    with pytest.raises(CheckpointError, match=r"record\.json is damaged .* runs the stage again"):
        run(tmp_path, demonstrations, "o2o_rl")
    write_sealed(record, {"settings": {}, "report": {}})
    with pytest.raises(CheckpointError, match="lacks inputs, result, versions"):
        read_record(record.parent)
    record.write_text(whole)
    policy = record.with_name("policy.safetensors")
    policy.write_bytes(policy.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match="is not what its record says"):
        run(tmp_path, demonstrations, "o2o_rl")


def test_bad_input(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    with pytest.raises(RecipeError, match="choose one of clone, diffusion_rl, dlr, "):
        get_recipe("drl")
    with pytest.raises(DemonstrationError, match="no demonstrations"):
        run(tmp_path, [])


def test_names_agree() -> None:
    assert all(name == recipe.name for name, recipe in RECIPES.items())
    assert len({recipe.label for recipe in RECIPES.values()}) == len(RECIPES)


BRIEF = dataclasses.replace(
    CONFIG,
    discover=DiscoverConfig(steps=200),
    learn=LearnConfig(steps=200, hidden=(32, 32), ema_decay=0.9),
    filtered=FilterConfig(episodes=4, wave=2),
    evaluation=EvaluationConfig(episodes=3),
)


def test_controls_share_stages(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    for recipe in ("dlr", "dlr_clone", "o2o_rl", "clone"):
        run(tmp_path, demonstrations, recipe, BRIEF)
    assert stages(tmp_path) == ["discover"] + ["filter"] * 2 + ["learn"] * 2 + ["reinforce"] * 2
    filtered = run(tmp_path, demonstrations, "filtered_clone", BRIEF)
    assert filtered.reports["filter"]["filtered"] and len(stages(tmp_path)) == 8
    shuffled = run(tmp_path, demonstrations, "dlr_shuffled", BRIEF)
    assert len(stages(tmp_path)) == 11 and stages(tmp_path).count("discover") == 1
    assert shuffled.policy.patterns == 3
    assert len(shuffled.reports["reinforce"]["theorem"]) == 3


CHUNKED = dataclasses.replace(
    BRIEF,
    diffusion=DiffusionConfig(
        channels=(32,), hidden=(32,), steps=40, batch_size=32, chunk=4,
        finetuning=ChunkFinetuningConfig(episodes=6),
    ),
    information=InformationConfig(steps=4),
)  # fmt: skip


def test_rivals_share_what_is_alike(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    mixed = run(tmp_path, demonstrations, "mi_shaped", CHUNKED)
    assert "information" in mixed.reports["reinforce"]["history"][0]
    record = read_record(tmp_path / "mi_shaped/seed_0/reinforce")
    assert record["settings"]["information"]["beta"] == 0.01
    run(tmp_path, demonstrations, "dlr", CHUNKED)
    assert stages(tmp_path) == ["discover", "filter", "learn", "reinforce", "reinforce"]
    other = dataclasses.replace(CHUNKED, information=InformationConfig(beta=0.1, steps=4))
    run(tmp_path, demonstrations, "mi_shaped", other)
    run(tmp_path, demonstrations, "dlr", other)
    assert stages(tmp_path) == ["discover", "filter", "learn", *["reinforce"] * 3]


def test_recipes_of_chunks(tmp_path: Path, demonstrations: list[Demonstration]) -> None:
    diffusion = run(tmp_path, demonstrations, "diffusion_rl", CHUNKED)
    gaussian = run(tmp_path, demonstrations, "gaussian_rl", CHUNKED)
    patterns = run(tmp_path, demonstrations, "dlr_diffusion", CHUNKED)
    assert isinstance(diffusion.policy, DiffusionPolicy) and patterns.policy.patterns == 3
    assert isinstance(gaussian.policy, NetworkChunkPolicy)
    assert "denoising_error" in diffusion.reports["learn"]["validation"]
    assert len(patterns.reports["reinforce"]["theorem"]) == 3
    widths = [p.architecture()["widths"] for p in (diffusion.policy, gaussian.policy)]
    assert widths == [[32], [32]]
    fixed = ChunkFinetuningConfig(episodes=6, annealing="fixed")
    fixed_rate = dataclasses.replace(CHUNKED.diffusion, finetuning=fixed)
    run(
        tmp_path, demonstrations, "diffusion_rl", dataclasses.replace(CHUNKED, diffusion=fixed_rate)
    )
    assert stages(tmp_path) == ["discover"] + ["learn"] * 3 + ["reinforce"] * 4
    first = load_policy(tmp_path / "gaussian_rl/seed_0/reinforce/policy.safetensors")[0]
    assert policy_hash(first) == policy_hash(gaussian.policy)


def test_a_weak_clone_is_filtered_first(
    tmp_path: Path, demonstrations: list[Demonstration]
) -> None:
    reinforce = dataclasses.replace(CONFIG.reinforce, budget=BudgetConfig(weak=1.01, strong=2))
    config = dataclasses.replace(CONFIG, reinforce=reinforce, filtered=BRIEF.filtered)
    reports = run(tmp_path, demonstrations, "o2o_rl", config).reports
    assert reports["filter"]["need"]["filter_first"]
    assert "filtered cloning before PPO" in reports["filter"]["need"]["why"]
    assert reports["filter"]["filtered"] and reports["filter"]["gathered"]["kept"][0] > 0
    steps = [reports[stage]["environment_steps"] for stage in ("learn", "filter", "reinforce")]
    assert steps[0]["training"] == 0 and steps[1]["training"] > 0
    assert all(s["total"] == s["training"] + s["evaluation"] > 0 for s in steps)
