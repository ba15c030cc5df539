"""`dlr build`: render trajectories into an RLDS dataset."""

from __future__ import annotations

from typing import Annotated

import tyro

from dataset_builders.build import BuildConfig


def build(config: Annotated[BuildConfig, tyro.conf.arg(name="")]) -> None:
    """Render trajectories into an RLDS dataset that TFDS loads."""
    from dataset_builders.build import build

    print(build(config))
