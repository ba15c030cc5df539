"""The way of a picture from a dataset to a model: what is left of the protocol's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval_harness.protocols import Protocol
from simulation.pictures.transforms import CentreCrop, Jpeg, Picture, Rotate180, Step, prepare
from vla_adapters.augmentation import Augmentation


@dataclass(frozen=True)
class Pictures:
    """What is done to a stored picture: steps, and then changes at random."""

    steps: tuple[Step, ...] = ()
    """Applied in order."""
    augmentation: Augmentation | None = None
    """How pictures are changed at random; by default not at all."""

    @classmethod
    def of_protocol(cls, protocol: Protocol, augmentation: Augmentation | None = None) -> Pictures:
        """Return what makes a stored picture the one that a protocol shows of the same scene.

        Datasets store pictures turned, and as JPEG, so these two steps are not repeated; for a
        protocol that leaves LIBERO's pictures as they are, they are turned back. At random, a
        picture is cut anywhere, and not in the centre as well.
        """
        steps: list[Step] = [
            step for step in protocol.picture_steps if not isinstance(step, Rotate180 | Jpeg)
        ]
        if augmentation is not None:
            steps = [step for step in steps if not isinstance(step, CentreCrop)]
        if Rotate180() not in protocol.picture_steps:
            steps.insert(0, Rotate180())
        return cls(tuple(steps), augmentation)

    def __call__(self, picture: Picture, generator: np.random.Generator) -> Picture:
        """Return what the model is shown, uint8 (H, W, 3).

        Args:
            picture: as the data stores it, uint8 (H, W, 3), RGB.
            generator: decides the changes.
        """
        shown = prepare(picture, self.steps)
        return shown if self.augmentation is None else self.augmentation(shown, generator)
