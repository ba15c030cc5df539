"""`python -m benchmarks.vla`: how fast pi0 and OpenVLA train and act, beside the chip's own rate.

Needs no simulator and no TensorFlow, so that it runs on a bare machine with a GPU.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.vla_models import Model, make_model
from common.errors import DlrError, OutputError, SettingError
from common.files import ensure_writable, write_json
from common.versions import package_versions
from vla_adapters.adapter import Batch, to_device
from vla_adapters.samples import Sample

_WARM_UP = 3
"""Steps before the clock starts."""
_LEAST = {"batch": 1, "steps": 1, "queries": 1, "query_batch": 1, "workers": 0}
"""Options that are numbers, and the least that each may be."""
_TARGET_WAIT = 0.05
"""Share of a training step that waiting for data may take."""
_PACKAGES = ("torch", "transformers", "lerobot", "timm", "peft")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the figures if a file is named.

    Raises:
        SettingError: a number is out of its range.
        OutputError: the file cannot be written.
    """
    options = _parse(arguments)
    _check(options)
    device = torch.device(options.device)
    model = make_model(options.model, options.size, options.device, options.train)
    report: dict[str, Any] = {
        "settings": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
        "model": model.adapter.identity(),
        "machine": _describe(device),
    }
    before = options.peak or matmul_rate(device, model.dtype) / 1e12
    training = report["training"] = measure_training(model, device, options)
    peak = options.peak or max(before, matmul_rate(device, model.dtype) / 1e12)
    report["chip"] = {"tflops": peak, "measured": not options.peak}
    training["share_of_chip"] = training["model_tflops"] / peak
    report["inference"] = measure_inference(model, device, options)
    print(json.dumps(report, indent=2))
    if options.json:
        write_json(options.json, report)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vla", description=__doc__)
    parser.add_argument("--model", choices=("pi0", "openvla"), default="pi0")
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--train", choices=("full", "expert_only", "lora"), default="full")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--batch", type=int, default=8, help="samples of a training step")
    parser.add_argument("--steps", type=int, default=10, help="training steps on the clock")
    parser.add_argument("--queries", type=int, default=10, help="calls of the policy on the clock")
    parser.add_argument("--query-batch", type=int, default=8, help="observations of a batched call")
    parser.add_argument("--workers", type=int, default=2, help="processes that prepare batches")
    parser.add_argument("--data", type=Path, help="RLDS dataset; by default made-up samples")
    parser.add_argument("--peak", type=float, help="the chip's TFLOP/s; by default measured")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args(arguments)


def _check(options: argparse.Namespace) -> None:
    """Look at numbers and at the file for the figures before anything is built.

    Raises:
        SettingError: a number is out of its range.
        OutputError: the file cannot be written.
    """
    for name, least in _LEAST.items():
        if (given := getattr(options, name)) < least:
            option = name.replace("_", "-")
            raise SettingError(f"--{option} must be at least {least}, not {given}")
    if options.peak is not None and not 0 < options.peak < math.inf:
        raise SettingError(f"--peak must be a positive number of TFLOP/s, not {options.peak}")
    if options.json and options.json.is_dir():
        raise OutputError(f"{options.json} is a folder: name a file for the figures")
    if options.json:
        ensure_writable(options.json.parent)


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a large matrix product, the best of several, in training's precision."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product = _timed(lambda: a @ b, device, _WARM_UP + 10)
    return 2 * size**3 / min(product[_WARM_UP:])


def measure_training(
    model: Model, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the speed of training steps, forward to optimiser, and where their time goes."""
    adapter = model.adapter
    adapter.module.train()
    flops = count_flops(model, device) * options.batch
    if options.gradient_checkpointing:  # what it computes a second time is not the model's work
        model.checkpoint()
    trained = [p for p in adapter.module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, 2.5e-5, fused=device.type == "cuda")
    generator = torch.Generator().manual_seed(0)
    batches = iter(_batches(model, options))
    _reset_memory(device)
    waits, steps, losses = [], [], []
    for _ in tqdm(range(_WARM_UP + options.steps), "training steps", disable=None):
        start = time.perf_counter()
        batch = to_device(next(batches), device)
        waits.append(time.perf_counter() - start)
        with torch.autocast(device.type, torch.bfloat16, enabled=model.autocast):
            loss, _ = adapter.loss(batch, generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        _wait_for(device)
        steps.append(time.perf_counter() - start)
        losses.append(float(loss.detach()))
    step = statistics.median(steps[_WARM_UP:])
    wait = sum(waits[_WARM_UP:]) / sum(steps[_WARM_UP:])
    tokens = model.tokens(batch)
    return {
        "seconds_per_step": step,
        "samples_per_second": options.batch / step,
        "tokens_per_sample": tokens,
        "tokens_per_second": options.batch * tokens / step,
        "model_tflop_per_step": flops / 1e12,
        "model_tflops": flops / step / 1e12,
        "waiting_for_data": {"share": wait, "target": _TARGET_WAIT, "met": wait <= _TARGET_WAIT},
        "peak_memory_gib": _peak_memory(device),
        "losses": losses,
    }


def measure_inference(
    model: Model, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the latency of one chunk and the throughput of batched ones."""
    model.adapter.module.eval()
    _reset_memory(device)
    rows = {}
    for size in sorted({1, options.query_batch}):
        batch = to_device(model.adapter.collate([model.sample(i) for i in range(size)]), device)
        with torch.inference_mode():
            act = functools.partial(model.act, batch)
            times = _timed(act, device, 1 + options.queries)[1:]
        median = statistics.median(times)
        rows[f"batch_{size}"] = {
            "seconds": median,
            "low": min(times),
            "high": max(times),
            "chunks_per_second": size / median,
            "actions_per_second": size * model.adapter.chunk / median,
        }
    return {**rows, "peak_memory_gib": _peak_memory(device)}


def count_flops(model: Model, device: torch.device) -> float:
    """Return the floating-point operations of forward and backward for one sample."""
    batch = to_device(model.adapter.collate([model.sample(0)]), device)
    with FlopCounterMode(display=False) as counter:
        with torch.autocast(device.type, torch.bfloat16, enabled=model.autocast):
            loss, _ = model.adapter.loss(batch, torch.Generator().manual_seed(0))
        loss.backward()
    model.adapter.module.zero_grad(set_to_none=True)
    return float(counter.get_total_flops())


class _MadeUp(IterableDataset[Sample]):
    """Samples without end, other ones in each worker."""

    def __init__(self, sample: Callable[[int], Sample]) -> None:
        self._sample = sample

    def __iter__(self) -> Iterator[Sample]:
        info = torch.utils.data.get_worker_info()
        step = info.num_workers if info else 1
        return map(self._sample, itertools.count(info.id if info else 0, step))


def _batches(model: Model, options: argparse.Namespace) -> Iterator[Batch]:
    if options.data is None:
        yield from DataLoader(
            _MadeUp(model.sample),
            options.batch,
            num_workers=options.workers,
            collate_fn=model.adapter.collate,
            pin_memory=options.device.startswith("cuda"),
        )
    else:
        from eval_harness.protocols import get_protocol
        from vla_adapters.pictures import Pictures
        from vla_adapters.reader import Reader, ReaderConfig
        from vla_adapters.training.validation import PROTOCOLS

        config = ReaderConfig(
            batch=options.batch,
            chunk=model.adapter.chunk,
            cameras=model.adapter.cameras,
            pictures=Pictures.of_protocol(get_protocol(PROTOCOLS[options.model])),
            workers=options.workers,
        )
        reader = Reader([options.data], config, model.adapter.collate)
        while True:
            yield from reader


def _timed(work: Callable[[], object], device: torch.device, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        _wait_for(device)
        start = time.perf_counter()
        work()
        _wait_for(device)
        seconds.append(time.perf_counter() - start)
    return seconds


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_memory(device: torch.device) -> float:
    """Return the device's peak since the last reset, or the process's own on the CPU, GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _describe(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "device": name or platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **package_versions(_PACKAGES),
    }


if __name__ == "__main__":
    try:
        main()
    except DlrError as error:
        sys.exit(f"benchmarks: {error}")
