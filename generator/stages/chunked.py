"""Learn and reinforce policies of the second paper: diffusion, or its Gaussian baseline."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from generator.config import DiffusionConfig, GeneratorConfig, LearnConfig
from generator.context import Context
from generator.stages.dlr import Learn, Reinforce

if TYPE_CHECKING:
    from generator.finetuning.learner import Finetuning
    from generator.learn import Maker
    from generator.policies.gaussian import GaussianPolicy

Kind = Literal["diffusion", "gaussian"]


@dataclass(frozen=True)
class LearnChunks(Learn):
    """Cloning into a policy over chunks: by denoising, or by likelihood with the same network."""

    kind: Kind = "diffusion"

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        read = asdict(config.diffusion)
        del read["finetuning"]
        return {**super().settings(config), "diffusion": read}

    def cloning(self, config: GeneratorConfig) -> tuple[LearnConfig, Maker | None]:
        """Return settings of the cloning, and the policy's maker."""
        own = config.diffusion
        chunks = replace(config.learn, chunk=own.chunk)
        if self.kind == "gaussian":
            return chunks, _Maker(self.kind, own)
        denoising = replace(
            chunks,
            steps=own.steps,
            batch_size=own.batch_size,
            learning_rate=own.learning_rate,
            ema_decay=own.ema_decay,
            validate_every=own.steps,
        )
        return denoising, _Maker(self.kind, own)


@dataclass(frozen=True)
class _Maker:
    """Makes a policy over chunks."""

    kind: Kind
    config: DiffusionConfig

    def __call__(self, observation_dim: int, patterns: int) -> GaussianPolicy:
        """Return a new policy for observations (P,) and K patterns."""
        from generator.policies.diffusion import DiffusionPolicy
        from generator.policies.network_chunk import NetworkChunkPolicy

        own = self.config
        widths = own.channels if own.network == "unet" else own.hidden
        network = observation_dim, patterns, own.network, widths, own.chunk
        if self.kind == "gaussian":
            return NetworkChunkPolicy(*network)
        return DiffusionPolicy(*network, asdict(own.chain))


@dataclass(frozen=True)
class ReinforceChunks(Reinforce):
    """PPO with the second paper's regimen: many environments, an annealed step size."""

    def settings(self, config: GeneratorConfig) -> dict[str, Any]:
        """Return what it reads of the settings."""
        return {**super().settings(config), "finetuning": asdict(config.diffusion.finetuning)}

    def adapt(self, settings: Finetuning, context: Context) -> Finetuning:
        """Return what PPO is run with, of what it is run with in `dlr`."""
        own = context.config.diffusion.finetuning
        ppo = replace(
            settings.config,
            episodes=max(own.episodes // max(context.patterns, 1), 1),
            learning_rate=own.learning_rate,
            desired_kl=own.desired_kl,
        )
        return replace(
            settings, config=ppo, annealing=own.annealing, denoising_gamma=own.denoising_gamma
        )
