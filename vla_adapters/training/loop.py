"""The training itself: steps, metrics, checkpoints, validation; exact when it goes on."""

from __future__ import annotations

import contextlib
import datetime
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import broadcast_object_list
from torch import nn
from tqdm import tqdm

from common.files import write_json
from common.json_files import read_json
from common.locks import lock_folder
from common.manifest import write_manifest
from common.versions import package_versions
from generator.checkpoints import versions
from simulation.assets.resolve import AssetPack
from vla_adapters.adapter import Adapter, Batch, to_device
from vla_adapters.augmentation import Augmentation
from vla_adapters.pictures import Pictures
from vla_adapters.reader import Position, Reader, ReaderConfig, choose_episodes
from vla_adapters.records import open_records
from vla_adapters.samples import Statistics
from vla_adapters.statistics import statistics_of
from vla_adapters.training.checkpoints import (
    DESCRIPTION,
    State,
    TrainingError,
    atomic_folder,
    check_same,
    load_state,
    restore,
    save_state,
)
from vla_adapters.training.config import TrainConfig, needs_autocast
from vla_adapters.training.metrics import Metrics
from vla_adapters.training.models import make_adapter
from vla_adapters.training.schedule import learning_rate, seed_step, steps_of
from vla_adapters.training.validation import (
    choose_assets,
    evaluate_policy,
    protocol_of,
    read_evaluations,
    should_stop,
    write_evaluations,
)

FINAL = "final"
"""Folder of the policy at the training's end."""
_PACKAGES = ("accelerate", "lerobot", "peft", "timm", "tokenizers", "transformers")
"""What decides a network's arithmetic beside what the generator's policies depend on."""
_EVALUATION_LIMIT = datetime.timedelta(days=2)
"""How long other processes wait while one evaluates."""


def train(config: TrainConfig) -> Path:
    """Train, or go on with a training, and return the folder of its last policy.

    Statistics for normalisation are those of the chosen episodes of the training's own data, in
    fine-tuning, too. Every number that is drawn depends on the seed and the step alone, so that
    on the CPU a killed training ends with the same weights, bit for bit, as an undisturbed one.

    Raises:
        DatasetError: the data is missing, damaged or of another layout.
        AdapterError: checkpoint or tokenizer are missing or do not fit.
        TrainingError: the loss is not finite, or the folder holds another training.
        BusyError: another training is writing the folder.
        OutputError: a checkpoint cannot be written; the one before is whole.
    """
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),  # else several processes would not find together
        mixed_precision="no",  # ours is `_backward`'s
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=_EVALUATION_LIMIT),
            # A model has weights that its loss does not reach, such as those of its answers.
            DistributedDataParallelKwargs(find_unused_parameters=True),
        ],
    )
    alone = lock_folder(config.out) if accelerator.is_main_process else contextlib.nullcontext()
    with alone:
        return _train(config, accelerator)


def _train(config: TrainConfig, accelerator: Accelerator) -> Path:
    """Do what `train` does, in a folder that no other training writes."""
    records = open_records(config.data, "train", ())
    episodes = choose_episodes(records, config.where, config.episodes)
    statistics = statistics_of(records, episodes)
    validated = config.validation.evaluate_every_epochs > 0
    if validated:
        from eval_harness.plan import choose_tasks

        choose_tasks(config.validation.validation_tasks, config.validation.validation_suites)
    assets = choose_assets(config.validation, records, episodes) if validated else None
    adapter = make_adapter(config, statistics)
    reader = _make_reader(config, adapter, accelerator)
    trainer = _Trainer(config, adapter, reader, statistics, accelerator, assets)
    try:
        trainer.run()
    finally:
        trainer.close()
    return config.out / FINAL


def _make_reader(config: TrainConfig, adapter: Adapter, accelerator: Accelerator) -> Reader:
    augment = config.model == "openvla" if config.augment is None else config.augment
    pictures = Pictures.of_protocol(protocol_of(config), Augmentation() if augment else None)
    return Reader(
        config.data,
        ReaderConfig(
            batch=config.batch,
            chunk=adapter.chunk,
            cameras=adapter.cameras,
            seed=config.seed,
            episodes=config.episodes,
            where=config.where,
            pictures=pictures,
            workers=config.workers,
            drop_last=True,
        ),
        adapter.collate,
        accelerator.process_index,
        accelerator.num_processes,
    )


class _Loss(nn.Module):
    """An adapter's loss as a forward pass, so that several processes can share gradients."""

    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        self.network, self._loss = adapter.module, adapter.loss

    def forward(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return loss and what else is worth a curve."""
        return self._loss(batch, generator)


class _Trainer:
    """Everything of a running training."""

    def __init__(
        self,
        config: TrainConfig,
        adapter: Adapter,
        reader: Reader,
        statistics: Statistics,
        accelerator: Accelerator,
        assets: AssetPack | None,
    ) -> None:
        self.config, self.adapter, self.reader = config, adapter, reader
        self.accelerator, self.settings = accelerator, config.optimisation
        self._assets = assets
        self.steps_per_epoch = reader.batches_per_epoch / config.accumulate
        batches = reader.batches_per_epoch
        self.total = config.steps or steps_of(config.epochs or 1, batches, config.accumulate)
        self.decisive = {
            **config.decisive(),
            "data_digest": statistics.digest,
            "init_sha256": adapter.began_with,
            "processes": accelerator.num_processes,
            "validation_assets": assets.digest if assets else None,
        }
        self.loss = accelerator.prepare(_Loss(adapter))
        self.trained = [p for p in adapter.module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.trained,
            self.settings.learning_rate,
            self.settings.betas,
            self.settings.epsilon,
            self.settings.weight_decay,
            fused=accelerator.device.type == "cuda",
        )
        self._autocast = needs_autocast(config.precision, config.train)
        self.step = self._go_on()
        self._evaluations = read_evaluations(config.out)
        self._metrics = Metrics(config.out, self.step) if accelerator.is_main_process else None
        self._seconds = {"data": 0.0, "all": 0.0}

    def run(self) -> None:
        """Train until the last step, or until validation says to stop."""
        self.adapter.module.train()
        bar = tqdm(
            total=self.total,
            initial=self.step,
            desc=self.config.model,
            disable=None if self.accelerator.is_main_process else True,
        )
        stop = self._after_epoch() if self.step else False
        batches = self._batches()
        while self.step < self.total and not stop:
            loss, numbers = self._train_step(batches)
            bar.update()
            bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
            self._note(loss, numbers)
            stop = self._after_step()
        bar.close()
        self._save_policy(self.config.out / FINAL)

    def close(self) -> None:
        """End workers."""
        self.reader.close()

    def _go_on(self) -> int:
        """Return the steps taken, after putting back what they left."""
        state = load_state(self.config.out)
        if state is None:
            self._check_folder()
            if self.accelerator.is_main_process:
                write_json(self.config.out / DESCRIPTION, self._describe(0))
            return 0
        check_same(state, self.decisive, self.config.out)
        restore(state, self.adapter.module, self.optimiser)
        taken = state.step * self.config.accumulate
        self.reader.seek(Position(*divmod(taken, self.reader.batches_per_epoch)))
        return state.step

    def _check_folder(self) -> None:
        """Refuse what another training left before its first state, or where its states are gone.

        Raises:
            TrainingError: there is something of other settings.
        """
        path = self.config.out / DESCRIPTION
        if path.exists():
            remedy = "delete it, and the training begins anew"
            begun = read_json(path, "what a training says of itself", TrainingError, remedy)
            if not isinstance(begun.get("settings"), dict):
                raise TrainingError(f"{path} does not say what was trained: {remedy}")
            check_same(State(0, begun["settings"], {}), self.decisive, self.config.out)
        there = [*self.config.out.glob("epoch_*"), *self.config.out.glob(FINAL)]
        if there:
            raise TrainingError(
                f"{self.config.out} holds {min(there).name} of a training whose state is gone: "
                "move the folder away, and the training begins anew"
            )

    def _batches(self) -> Iterator[Batch]:
        while True:
            yield from self.reader

    def _train_step(self, batches: Iterator[Batch]) -> tuple[float, dict[str, float]]:
        """Take one step of the optimiser and return loss and other numbers."""
        began = time.perf_counter()
        rate = learning_rate(self.step, self.total, self.settings)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        sums: dict[str, torch.Tensor] = {}
        for part in range(self.config.accumulate):
            asked = time.perf_counter()
            batch = to_device(next(batches), self.accelerator.device)
            self._seconds["data"] += time.perf_counter() - asked
            last = part + 1 == self.config.accumulate
            together = contextlib.nullcontext() if last else self.accelerator.no_sync(self.loss)
            with together:
                found = self._backward(batch, part)
            for name, value in found.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value
        numbers = self._reduce(sums)
        if self.settings.clip is not None:
            norm = nn.utils.clip_grad_norm_(self.trained, self.settings.clip)
            numbers["gradient_norm"] = float(norm)
        if not all(map(math.isfinite, numbers.values())):
            raise TrainingError(
                f"the loss or gradient of step {self.step + 1} is not finite: the last checkpoint "
                f"in {self.config.out} is from before it; try a smaller --learning-rate, or look "
                "at the data"
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self._seconds["all"] += time.perf_counter() - began
        return numbers.pop("loss"), {**numbers, "learning_rate": rate}

    def _backward(self, batch: Batch, part: int) -> dict[str, torch.Tensor]:
        rank = self.accelerator.process_index
        generator = seed_step(self.config.seed, self.step, part, rank)
        kind = self.accelerator.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self._autocast):
            loss, numbers = self.loss(batch, generator)
        self.accelerator.backward(loss / self.config.accumulate)
        return {"loss": loss.detach(), **numbers}

    def _reduce(self, sums: dict[str, torch.Tensor]) -> dict[str, float]:
        """Return the means over the step's batches and all processes."""
        values = torch.stack([value.float() for value in sums.values()]) / self.config.accumulate
        means = self.accelerator.reduce(values, "mean")
        return dict(zip(sums, means.tolist(), strict=True))

    def _note(self, loss: float, numbers: dict[str, float]) -> None:
        if self.step % self.config.log_every and self.step != self.total:
            return
        samples = self.config.batch * self.config.accumulate * self.accelerator.num_processes
        steps = (self.step - 1) % self.config.log_every + 1
        seconds, self._seconds = self._seconds, {"data": 0.0, "all": 0.0}
        if self._metrics is not None:
            self._metrics.add(
                self.step,
                {
                    "epoch": self.step / self.steps_per_epoch,
                    "loss": loss,
                    **numbers,
                    "samples_per_second": steps * samples / seconds["all"],
                    "waiting_for_data": seconds["data"] / seconds["all"],
                },
            )

    def _after_step(self) -> bool:
        """Keep what is due, validate if that is due, and return whether to stop."""
        config, at_end = self.config, self._epoch() > self._epoch(self.step - 1)
        if config.keep_every and self.step % config.keep_every == 0:  # first: no step comes twice
            self._save_policy(config.out / f"step_{self.step:06d}")
        if at_end or self.step % config.checkpoint_every == 0 or self.step == self.total:
            self._save_state()
        return self._after_epoch() if at_end else False

    def _epoch(self, step: int | None = None) -> int:
        """Return how many epochs have ended after a step."""
        taken = (self.step if step is None else step) * self.config.accumulate
        return taken // self.reader.batches_per_epoch

    def _after_epoch(self) -> bool:
        """Keep and validate the policy if an epoch has just ended; return whether to stop."""
        epoch, wanted = self._epoch(), self.config.validation
        if epoch == self._epoch(self.step - 1):
            return False
        every = wanted.evaluate_every_epochs
        due = bool(every) and epoch % every == 0
        folder = self.config.out / f"epoch_{epoch:03d}"
        if due or epoch <= self.config.keep_epochs:
            self._save_policy(folder)
        if due and self.accelerator.is_main_process:
            self._evaluate(folder, epoch)
        decision = [due and should_stop(self._evaluations, wanted.patience)]
        return bool(broadcast_object_list(decision)[0])

    def _evaluate(self, folder: Path, epoch: int) -> None:
        if any(evaluation.epoch == epoch for evaluation in self._evaluations):
            return
        assert self._assets is not None
        out = self.config.out
        results = out / "validation" / folder.name
        found = evaluate_policy(folder, self.config, epoch, self._assets, results)
        self._evaluations.append(found)
        write_evaluations(out, self._evaluations)
        assert self._metrics is not None
        self._metrics.add(self.step, {**vars(found), "success": found.rate}, "validation")

    def _save_state(self) -> None:
        if self.accelerator.is_main_process:
            save_state(
                self.config.out, self.step, self.decisive, self.adapter.module, self.optimiser
            )
        self.accelerator.wait_for_everyone()

    def _save_policy(self, path: Path) -> None:
        """Write a policy; one that is there is from these very steps."""
        if self.accelerator.is_main_process and not path.exists():
            with atomic_folder(path) as folder:
                self.adapter.save(folder)
                write_json(folder / DESCRIPTION, self._describe(self.step))
                write_manifest(folder)
        self.accelerator.wait_for_everyone()

    def _describe(self, step: int) -> dict[str, Any]:
        return {
            "step": step,
            "epoch": step / self.steps_per_epoch,
            "settings": self.decisive,
            "model": self.adapter.identity(),
            "versions": {**versions(), **package_versions(_PACKAGES)},
        }
