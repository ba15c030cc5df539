"""Five steps of DDIM decide much faster than a hundred of DDPM."""

from benchmarks.training import decisions_per_second, make_policy
from generator.config import ChainConfig, DiffusionConfig


def test_ddim_is_eight_times_as_fast() -> None:
    widths = DiffusionConfig().channels
    ddim, ddpm = (make_policy("unet", widths, ChainConfig(sampler=s)) for s in ("ddim", "ddpm"))
    decisions_per_second(ddim, 1)
    assert len(ddim.steps) == 5 and len(ddpm.steps) == 100
    assert decisions_per_second(ddim, 10) >= 8 * decisions_per_second(ddpm, 1)
