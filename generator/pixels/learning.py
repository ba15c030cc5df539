"""Stages of policies that see: an encoder, then any policy cloned on what it makes of pictures."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.reproducible import reproducible
from common.tensors import build_module, load_tensors, save_tensors
from demonstrations.demonstration import Demonstration
from generator.checkpoints import ENCODER, ENCODER_TRAINING, save_policy
from generator.config import GeneratorConfig
from generator.context import Context
from generator.pixels.backbones import Norm, load_backbone, weights_file
from generator.pixels.cloning import Moments, train_encoder
from generator.pixels.demonstrations import DemonstrationPictures
from generator.pixels.encoder import Encoder, choose_device
from generator.pixels.memory import check_memory
from generator.policies.policy import Policy
from generator.policies.seeing import SeeingPolicy

_FEW = 4096
"""Moments that principal components are of, at most."""


def observing(config: GeneratorConfig) -> dict[str, Any]:
    """Return what a stage's key has of what is observed; nothing for the simulator's state.

    Raises:
        CheckpointError: the weights that are asked for are not there.
    """
    if not config.observe.cameras:
        return {}
    content = asdict(config.observe)
    del content["memory_gib"]
    path = weights_file(config.observe.encoder, config.observe.weights)
    if path is not None:
        content["weights"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"observe": content, "device": config.device}


Clone = Callable[[Sequence[Demonstration]], tuple[Policy, dict[str, Any]]]
"""Clones a policy from demonstrations as it observes them; returns it and a report."""


def learn_seeing(
    context: Context, labels: Sequence[np.ndarray] | None, clone: Clone, folder: Path
) -> tuple[Policy, dict[str, Any]]:
    """Clone a policy that sees; go on from what a killed run left in `folder`.

    The encoder comes first, trained end to end or kept as it is; then the head is cloned on its
    numbers, which each picture is turned into once.

    Args:
        context: the run.
        labels: the pattern of each state of each demonstration; None without.
        clone: makes the head.
        folder: receives `policy.safetensors`.

    Returns:
        the policy and the report of `clone`, with what the encoder is.

    Raises:
        CheckpointError: the weights that are asked for are not there, or of something else.
        RenderError: the task has no such camera, or nothing draws here.
        SettingError: there is no memory for the pictures, or no such device.
    """
    config = context.config
    pictures = _pictures(context, folder)
    pictures.draw()
    with reproducible():
        encoder, report = _encoder(context, pictures, labels, folder)
        seen = _encode(encoder, context.demonstrations, pictures)
    head, learned = clone(seen)
    states = np.concatenate([d.observations for d in context.demonstrations])
    policy = SeeingPolicy.around(
        head, encoder, config.observe.cameras, states, config.observe.train_encoder == "all"
    ).to_device(encoder.device)
    report = {**learned, "encoder": report}
    save_policy(folder / "policy.safetensors", policy, {"config": asdict(config), **report})
    return policy, report


def seen_demonstrations(context: Context, policy: Policy, folder: Path) -> Sequence[Demonstration]:
    """Return the demonstrations as a policy observes them, its encoder frozen."""
    if not isinstance(policy, SeeingPolicy):
        return context.demonstrations
    with reproducible():
        return _encode(policy.encoder, context.demonstrations, _pictures(context, folder))


def check_iteration(context: Context, policy: Policy, episodes: int) -> None:
    """Ask whether there is memory for the pictures of an iteration of PPO.

    Args:
        context: the run.
        policy: what is fine-tuned.
        episodes: of each pattern in an iteration.

    Raises:
        SettingError: there is none.
    """
    if isinstance(policy, SeeingPolicy) and policy.trains:
        # What rollouts hold, and the batch that is made of it.
        steps = episodes * max(policy.patterns, 1) * context.horizon
        size = 2 * steps * policy.feature_dim
        check_memory("an iteration of PPO", size, context.config.observe.memory_gib)


def _pictures(context: Context, folder: Path) -> DemonstrationPictures:
    return DemonstrationPictures(
        context.demonstrations,
        context.config.observe,
        context.environments.painters,
        folder.parent,
    )


def _encoder(
    context: Context,
    pictures: DemonstrationPictures,
    labels: Sequence[np.ndarray] | None,
    folder: Path,
) -> tuple[Encoder, dict[str, Any]]:
    """Return the encoder, trained as asked, and what it is; one that is finished is read."""
    observe, seed, path = context.config.observe, context.config.seed, folder / ENCODER
    trained, source = observe.train_encoder != "no", weights_file(observe.encoder, observe.weights)
    device = choose_device(context.config.device)

    def make() -> Encoder:
        norm: Norm = "batch" if source else "group"
        cameras, features = len(observe.cameras), observe.features
        return Encoder(observe.encoder, norm, cameras, observe.size, features, trained)

    if path.exists():
        tensors, report = load_tensors(path, "encoder")
        return build_module(make, tensors, path).to(device).requires_grad_(False).eval(), report
    name = "none: from scratch" if source is None else source.name
    report = {"kind": observe.encoder, "weights": name, "trained": observe.train_encoder}
    print(
        f"dlr: {observe.encoder} looks through {', '.join(observe.cameras)} at {observe.size} px; "
        f"weights {name}; trained: {observe.train_encoder}",
        file=sys.stderr,
    )
    torch.manual_seed(seed)
    encoder = make()
    if source is not None:
        encoder.backbone = load_backbone(observe.encoder, source)
    encoder.to(device).eval()
    if trained:
        moments, state = _moments(context, pictures, labels), folder / ENCODER_TRAINING
        report |= train_encoder(encoder, moments, context.patterns, observe, seed, state)
    else:
        step = -(-sum(len(d.actions) for d in context.demonstrations) // _FEW)
        encoder.fit_projection([pictures[i][::step] for i in range(len(pictures))])
    save_tensors(path, "encoder", encoder.state_dict(), report)
    return encoder.requires_grad_(False).eval(), report


def _moments(
    context: Context, pictures: DemonstrationPictures, labels: Sequence[np.ndarray] | None
) -> Moments:
    """Return all that is cloned; the trajectories that `learn` holds out are held out here too."""
    config, demonstrations = context.config, context.demonstrations
    order = np.random.default_rng([config.seed, 0]).permutation(len(demonstrations))
    held_out = set(order[: int(len(order) * config.learn.validation_share)].tolist())
    lengths = [len(d.actions) for d in demonstrations]
    if labels is None:
        labels = [np.zeros(length, np.int64) for length in lengths]
    return Moments(
        pictures.together(),
        np.concatenate([d.proprio for d in demonstrations]),
        np.concatenate(labels),
        np.concatenate([d.actions for d in demonstrations]),
        np.repeat([i in held_out for i in range(len(lengths))], lengths),
    )


def _encode(
    encoder: Encoder, demonstrations: Sequence[Demonstration], pictures: DemonstrationPictures
) -> list[Demonstration]:
    """Return demonstrations with an encoder's numbers and proprioception as observations."""
    seen = []
    for index, d in enumerate(demonstrations):
        numbers = encoder.encode(pictures[index])
        rows = np.concatenate([numbers, d.proprio.astype(np.float32)], axis=1)
        seen.append(replace(d, observations=rows))
    return seen
