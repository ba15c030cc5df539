"""Randomness of a batched network, row by row a function of that row's episode and step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from eval_harness.policy import Observation


def noise_seed(observation: Observation) -> int:
    """Return the seed of a policy's noise: a function of the episode and the step, 63 bits.

    Whoever runs the episode (`EpisodeKey.client`) has no part in it.
    """
    key = observation.key
    text = repr((key.task, key.episode, key.init_index, key.seed, observation.step))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


class RowNoise(TorchFunctionMode):
    """Draws each row of a random tensor from a generator of its own while it is entered.

    Concerns `randn`, `rand`, their `_like`, `normal` with scalar parameters, and `multinomial`,
    where the first dimension is the batch. All other random calls are left to torch's global
    generators, which `untouched` notices.

    Args:
        seeds: seed of each row.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__()
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Split a random call by rows, and let all others through."""
        kwargs = dict(kwargs or {})
        if func in _LIKE and len(args) == 1:
            like = args[0]
            options = {"dtype": like.dtype, "device": like.device} | kwargs
            return self.__torch_function__(_LIKE[func], types, (like.shape,), options)
        if kwargs.get("generator") is None:
            if func is torch.multinomial and self._is_batch(args[0].shape):
                return self._multinomial(*args, **kwargs)
            if func in (torch.randn, torch.rand):
                size = kwargs.pop("size", None) or (args[0] if _is_shape(args) else args)
                if self._is_batch(size):
                    return self._fill(func, (), size, kwargs)
                args = (tuple(size),)
            if func is torch.normal and self._is_batch(kwargs.get("size", ())):
                return self._fill(func, args, kwargs.pop("size"), kwargs)
        return func(*args, **kwargs)

    def _is_batch(self, shape: Sequence[int]) -> bool:
        return len(shape) > 0 and shape[0] == len(self._generators)

    def _fill(
        self,
        func: Callable[..., torch.Tensor],
        args: tuple[Any, ...],
        size: Sequence[int],
        options: dict[str, Any],
    ) -> torch.Tensor:
        """Stack rows that are drawn on the CPU, so that the device does not matter."""
        device = options.pop("device", None)
        options.pop("generator", None)
        rows = [
            func(*args, size=tuple(size[1:]), generator=generator, device="cpu", **options)
            for generator in self._generators
        ]
        return torch.stack(rows).to(device or "cpu")

    def _multinomial(self, probabilities: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        options.pop("generator", None)
        rows = [
            torch.multinomial(row.cpu(), *args, generator=generator, **options)
            for row, generator in zip(probabilities, self._generators, strict=True)
        ]
        return torch.stack(rows).to(probabilities.device)


class GlobalNoise:
    """Tells whether torch's global generators were used since it was made."""

    def __init__(self) -> None:
        self._before = self._states()

    def used(self) -> bool:
        """Return whether any was used."""
        pairs = zip(self._before, self._states(), strict=True)
        return any(not torch.equal(before, after) for before, after in pairs)

    @staticmethod
    def _states() -> list[torch.Tensor]:
        cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if cuda else [])]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators, and put them back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


_LIKE = {torch.randn_like: torch.randn, torch.rand_like: torch.rand}


def _is_shape(args: tuple[Any, ...]) -> bool:
    return len(args) == 1 and isinstance(args[0], (tuple, list))
