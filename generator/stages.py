"""The stages of every recipe: each is keyed by what it reads, and keeps its result in a folder."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from common.errors import CheckpointError, UsageError
from common.files import ensure_writable
from common.json_files import read_sealed, write_sealed
from common.locks import lock_file
from common.workers.progress import tell
from generator.config import GeneratorConfig
from generator.context import Context

if TYPE_CHECKING:
    from demonstrations.demonstration import Demonstration
    from generator.discover import PatternEncoder
    from generator.policies.policy import Policy
    from generator.reward import Reward
    from generator.rollout import Rollout


class Stage(Protocol):
    """One step of a recipe. Its fields are options of the stage, and part of its key."""

    @property
    def name(self) -> str:
        """Name of the stage, its folder and its result."""

    @property
    def file(self) -> str:
        """Name of the file that holds the result."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the earlier stages whose results it reads."""

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Write the result into the folder, going on from a killed run; return a report."""

    def load(self, folder: Path) -> Any:
        """Return the result."""


@dataclass(frozen=True)
class Discover:
    """Stage 1: the pattern encoder q(z|s)."""

    name: str = "discover"
    file: str = "encoder.safetensors"
    reads: tuple[str, ...] = ()

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        return {"discover": asdict(config.discover)}

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Fit the encoder; report its agreement with known ways."""
        from common.reproducible import reproducible
        from generator.discover import discover

        config, demonstrations = context.config, context.demonstrations
        ways = [d.way for d in demonstrations]
        with reproducible():
            encoder = discover(
                [d.proprio for d in demonstrations], config.discover, config.seed, ways
            )
        encoder.save(folder / self.file)
        return encoder.report

    def load(self, folder: Path) -> PatternEncoder:
        """Return the encoder."""
        from generator.discover import PatternEncoder

        return PatternEncoder.load(folder / self.file)


@dataclass(frozen=True)
class Learn:
    """Stage 2: behaviour cloning, conditioned on the patterns where `reads` names `discover`."""

    name: str = "learn"
    file: str = "policy.safetensors"
    reads: tuple[str, ...] = ()
    shuffled: bool = False
    """Permute the labels among the demonstrations: patterns that say nothing, as a control."""

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        from generator.pixels.learning import observing

        return {"learn": asdict(config.learn), **_measuring(config), **observing(config)}

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Clone; report held-out success."""
        from generator.learn import learn
        from generator.pixels.learning import learn_seeing

        config, labels = context.config, context.labels(self.shuffled)

        def clone(demonstrations: Sequence[Demonstration]) -> tuple[Policy, dict[str, Any]]:
            return learn(
                demonstrations, labels, config.learn, context.patterns, config.seed, folder
            )

        if config.observe.cameras:
            policy, report = learn_seeing(context, labels, clone, folder)
        else:
            policy, report = clone(context.demonstrations)
        measured = _held_out(context, policy)[0]
        return {**report, **measured, "environment_steps": _counts(0, measured)}

    def load(self, folder: Path) -> Policy:
        """Return the policy."""
        return _load_policy(folder / self.file)


@dataclass(frozen=True)
class Filter:
    """Filtered cloning where the clone is too weak for PPO: its successes are cloned too."""

    name: str = "filter"
    file: str = "policy.safetensors"
    reads: tuple[str, ...] = ("learn",)
    shuffled: bool = False
    """As `Learn`'s."""
    always: bool = False
    """Do it whatever the clone's success."""

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        return {
            "learn": asdict(config.learn),
            "filtered": asdict(config.filtered),
            "weak": config.reinforce.budget.weak,
            "horizon_factor": config.horizon_factor,
            **_measuring(config),
        }

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Clone again if need be; report why, and held-out success."""
        from generator.checkpoints import save_policy
        from generator.finetuning.budget import choose_budget
        from generator.finetuning.filtered import filtered_clone
        from generator.pixels.learning import seen_demonstrations

        config, learned = context.config, context.reports["learn"]
        budget = choose_budget(learned["held_out_success"], config.reinforce.budget)
        chosen = {"budget": budget.report(), "always": self.always}
        if not self.always and budget.choice != "filter first":
            save_policy(folder / self.file, context.results["learn"], {"filtered": False})
            same = {name: learned[name] for name in ("held_out_success", "evaluation_steps")}
            return {"filtered": False, **chosen, **same, "environment_steps": _counts(0, {})}
        policy, report = filtered_clone(
            context.results["learn"],
            context.environments,
            seen_demonstrations(context, context.results["learn"], folder),
            context.labels(self.shuffled),
            None if self.shuffled else context.encoder,
            config,
            context.horizon,
            folder,
        )
        measured = _held_out(context, policy)[0]
        steps = _counts(report["gathered"].pop("environment_steps"), measured)
        return {"filtered": True, **chosen, **report, **measured, "environment_steps": steps}

    def load(self, folder: Path) -> Policy:
        """Return the policy."""
        return _load_policy(folder / self.file)


def sparse_success(context: Context) -> Reward:
    """Return the sparse success reward (section 4.4)."""
    from generator.reward import SparseSuccess

    return SparseSuccess()


@dataclass(frozen=True)
class Reinforce:
    """Stage 3: PPO on a reward, close to the policy that it starts from."""

    name: str = "reinforce"
    file: str = "policy.safetensors"
    reads: tuple[str, ...] = ("learn",)
    """The last one named is where PPO starts from."""
    reward: Callable[[Context], Reward] = sparse_success
    """Maker of what PPO maximises."""

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        return {
            "reinforce": asdict(config.reinforce),
            "horizon_factor": config.horizon_factor,
            **_measuring(config),
        }

    def run(self, context: Context, folder: Path) -> dict[str, Any]:
        """Fine-tune; report the budget and why, held-out success, and what the theorem asks."""
        from generator.finetuning.budget import choose_budget
        from generator.finetuning.learner import Finetuning
        from generator.finetuning.theorem import theorem
        from generator.pixels.learning import check_iteration
        from generator.reinforce import reinforce

        config, start = context.config, self.reads[-1]
        before = context.reports[start]
        check_iteration(context, context.results[start])
        budget = choose_budget(before["held_out_success"], config.reinforce.budget)
        policy, report = reinforce(
            context.results[start],
            context.environments,
            context.encoder,
            Finetuning(
                config.reinforce,
                config.evaluation,
                config.noise,
                self.reward(context),
                context.horizon,
                config.seed,
                max(budget.steps - before["evaluation_steps"], 1),
                budget.choice == "keep and shorten",
                context.demonstrations,
                context.trajectory_patterns(),
            ),
            folder,
        )
        measured, episodes = _held_out(context, policy)
        for name in ("evaluation", "total"):
            report["environment_steps"][name] += measured["evaluation_steps"]
        bounds = theorem(
            (context.results[start], policy),
            episodes,
            (before["held_out_success"], measured["held_out_success"]),
            config.noise.std,
        )
        return {"budget": budget.report(), **report, **measured, "theorem": bounds}

    def load(self, folder: Path) -> Policy:
        """Return the policy."""
        return _load_policy(folder / self.file)


def _measuring(config: GeneratorConfig) -> dict[str, Any]:
    """Return the settings that held-out success is measured with."""
    return {"evaluation": asdict(config.evaluation), "noise": asdict(config.noise)}


def _held_out(context: Context, policy: Policy) -> tuple[dict[str, Any], list[Rollout]]:
    from generator.held_out import held_out

    horizon, config = context.task.horizon, context.config
    return held_out(policy, context.environments, context.encoder, horizon, config)


def _counts(training: int, measured: Mapping[str, Any]) -> dict[str, int]:
    """Return environment steps of training, of an evaluation, and together."""
    evaluation = measured.get("evaluation_steps", 0)
    return {"training": training, "evaluation": evaluation, "total": training + evaluation}


def _load_policy(path: Path) -> Policy:
    from generator.checkpoints import load_policy

    return load_policy(path)[0]


def run_stage(
    stage: Stage, context: Context, inputs: Mapping[str, str], parent: Path
) -> tuple[Path, dict[str, Any]]:
    """Run a stage unless its result is there, put it into `context.results`.

    The folder's name ends with the key: a digest of the stage with its options, its settings, the
    task, the seed and `inputs`. So what a stage does not read does not touch it, other settings
    are another folder, and recipes share stages. `record.json` holds report, settings, inputs,
    versions, and the sha256 of the result; `cost.json` the CPU seconds of the process that
    finished it.

    Args:
        stage: the stage.
        context: the run.
        inputs: name -> digest of everything else that it reads.
        parent: where the folders of stages lie.

    Returns:
        its folder and its record.

    Raises:
        BusyError: another process is running this very stage there.
        OutputError: the folder cannot be written.
    """
    from generator.checkpoints import add_cost, versions
    from generator.policies.seeing import place

    read = {
        "stage": {name: _text(value) for name, value in vars(stage).items()},
        "task": context.task.key,
        "seed": context.config.seed,
        "settings": stage.settings(context.config),
        "inputs": dict(inputs),
    }
    key = hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()
    folder = parent / f"{stage.name}-{key[:12]}"
    with lock_file(folder):
        if not (folder / RECORD).exists():
            tell(stage.name)
            began = time.process_time()
            report = stage.run(context, ensure_writable(folder))
            content = {**read, "versions": versions(), "report": report}
            add_cost(folder, {"stage_cpu_seconds": time.process_time() - began})
            write_sealed(folder / RECORD, {**content, "result": _sha256(folder / stage.file)})
    record = read_record(folder)
    if record["result"] != _sha256(folder / stage.file):
        raise CheckpointError(
            f"{folder / stage.file} is not what its record says: delete {folder}, and `dlr train` "
            "runs the stage again"
        )
    context.results[stage.name] = place(stage.load(folder), context.config.device)
    context.reports[stage.name] = record["report"]
    return folder, record


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record (settings, inputs, versions, report, result) of a finished stage.

    Raises:
        UsageError: the stage is not finished.
        CheckpointError: the record is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        raise UsageError(f"{path} is not there: finish `dlr train` for this recipe first")
    remedy = f"delete {folder.resolve()}, and `dlr train` runs the stage again"
    content = read_sealed(path, "the record of a stage", CheckpointError, remedy)
    if lacking := {"settings", "inputs", "versions", "report", "result"} - content.keys():
        raise CheckpointError(f"{path} lacks {', '.join(sorted(lacking))}: {remedy}")
    return content


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path} ({error.strerror}): delete {path.parent}, and `dlr train` runs "
            "the stage again"
        ) from error


RECORD = "record.json"
"""Name of a finished stage's record."""


def _text(value: Any) -> Any:
    return value.__name__ if callable(value) else value
