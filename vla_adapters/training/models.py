"""The models by their names, made ready for training on given data."""

from __future__ import annotations

from collections.abc import Callable

from vla_adapters.adapter import Adapter
from vla_adapters.lora import Lora
from vla_adapters.samples import Statistics
from vla_adapters.training.config import TrainConfig


def make_adapter(config: TrainConfig, statistics: Statistics) -> Adapter:
    """Return the model that a training asks for, with the data's statistics.

    Raises:
        AdapterError: its checkpoint or tokenizer are missing or do not fit.
    """
    return _MAKERS[config.model](config, statistics)


def _pi0(config: TrainConfig, statistics: Statistics) -> Adapter:
    from vla_adapters.pi0.adapter import Pi0Adapter, Pi0Options

    options = Pi0Options(
        train=config.train,
        precision="bfloat16" if config.precision == "bfloat16" else "float32",
        gradient_checkpointing=config.gradient_checkpointing,
        lora=Lora(config.lora_rank, config.lora_alpha, seed=config.seed),
    )
    if config.init is None:
        folder = (config.out / "tokenizer").resolve()
        return Pi0Adapter.small(statistics, folder, config.chunk, config.seed, options)
    return Pi0Adapter.load(config.init, statistics, config.chunk, config.tokenizer, options)


def _openvla(config: TrainConfig, statistics: Statistics) -> Adapter:
    from vla_adapters.openvla.adapter import OpenVlaAdapter, OpenVlaOptions
    from vla_adapters.tokenizers import libero_instructions

    options = OpenVlaOptions(
        train="lora" if config.train == "lora" else "full",
        precision="bfloat16" if config.precision == "bfloat16" else "float32",
        gradient_checkpointing=config.gradient_checkpointing,
        lora=Lora(config.lora_rank, config.lora_alpha, seed=config.seed),
    )
    if config.init is None:
        return OpenVlaAdapter.small(statistics, libero_instructions(), config.seed, options)
    return OpenVlaAdapter.load(config.init, statistics, options=options)


_MAKERS: dict[str, Callable[[TrainConfig, Statistics], Adapter]] = {
    "pi0": _pi0,
    "openvla": _openvla,
}
