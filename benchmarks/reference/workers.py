"""Processes of the reference evaluation: our harness, the usual script's loop, vla-eval's server.

`python -m benchmarks.reference.workers ours|sequential|vla-eval-server --help`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tyro

from benchmarks.reference.policy.demonstrations import CHUNK, Demonstrations
from eval_harness.policy import Observation, Policy, Requirements
from eval_harness.protocols import Protocol, get_protocol


class OpenLoopPolicy(Policy):
    """The policy as our harness has it; it asks for both pictures, as the networks do."""

    requirements = Requirements(chunk=CHUNK)

    def __init__(self, checkpoint: Path) -> None:
        self._demonstrations = Demonstrations.load(checkpoint)

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.floating[Any]]:
        """Return the demonstrations' next actions. Shape: (n, 10, 7)."""
        return np.stack([self._demonstrations.chunk(o.instruction, o.step) for o in observations])


def reference_protocol(name: str) -> Protocol:
    """Return a protocol in which the policy looks again after its whole chunk."""
    from dataclasses import replace

    return replace(get_protocol(name), chunk=None)


def ours(
    checkpoint: Path, out: Path, protocol: str, trials: int, tasks: tuple[str, ...], assets: Path
) -> None:
    """Evaluate with our harness as `dlr eval run` does, in its default settings."""
    from eval_harness.evaluation import evaluate
    from eval_harness.plan import choose_tasks
    from simulation.assets.resolve import resolve_assets

    policy, pack = OpenLoopPolicy(checkpoint), resolve_assets(assets)
    evaluate(policy, reference_protocol(protocol), choose_tasks(tasks), out, trials, assets=pack)


def sequential(
    checkpoint: Path, out: Path, protocol: str, trials: int, tasks: tuple[str, ...], assets: Path
) -> None:
    """Evaluate in the loop of OpenVLA's and OpenVLA-OFT's scripts; writes outcomes as JSON.

    One `OffScreenRenderEnv` a task, seeded once, its two pictures drawn at every step. The
    policy's pictures are prepared where it looks, every tenth step. The scripts' videos, one an
    episode, are left out.
    """
    from common.files import write_json
    from eval_harness.plan import choose_tasks
    from simulation.assets.resolve import resolve_assets

    demonstrations, outcomes = Demonstrations.load(checkpoint), []
    pack, chosen = resolve_assets(assets), reference_protocol(protocol)
    for task in choose_tasks(tasks):
        outcomes += _one_task(task, pack, chosen, trials, demonstrations)
        print(outcomes[-1], flush=True)
    write_json(out, outcomes)


def _one_task(
    task: Any, pack: Any, protocol: Protocol, trials: int, demonstrations: Demonstrations
) -> list[dict[str, Any]]:
    """Return task, episode, success and steps of each episode of a task."""
    from benchmarks.peers import upstream as peers

    env = peers.offscreen_env(task, pack, protocol.render_size[0])
    env.seed(protocol.environment_seed)
    initial, outcomes = task.init_states(), []
    for episode in range(trials):
        env.reset()
        observation = env.set_init_state(initial[episode])
        for _ in range(protocol.settle_steps):
            observation, *_ = env.step(list(protocol.settle_action))
        success = False
        for step in range(protocol.horizons[task.suite]):
            if step % CHUNK == 0:
                _look(observation, protocol)
                chunk = demonstrations.chunk(task.language, step)
            action = np.append(chunk[step % CHUNK, :6], np.sign(chunk[step % CHUNK, 6]))
            observation, _, success, _ = env.step(action.tolist())
            if success:
                break
        found = {"episode": episode, "success": bool(success), "steps": step + 1}
        outcomes.append({"task": task.key, **found})
    env.close()
    return outcomes


def _look(observation: dict[str, Any], protocol: Protocol) -> None:
    """Prepare what a network would be given: two pictures and the state."""
    from robosuite.utils.transform_utils import quat2axisangle

    from simulation.pictures.transforms import prepare

    for camera in protocol.cameras:
        prepare(observation[f"{camera}_image"], protocol.picture_steps)
    rotation = quat2axisangle(observation["robot0_eef_quat"])
    np.concatenate((observation["robot0_eef_pos"], rotation, observation["robot0_gripper_qpos"]))


def vla_eval_server(checkpoint: Path, port: int) -> None:
    """Serve the policy with vla-eval's own model server on loopback until killed."""
    from vla_eval.model_servers.predict import PredictModelServer
    from vla_eval.model_servers.serve import serve
    from vla_eval.specs import (
        GRIPPER_CLOSE_POS,
        IMAGE_RGB,
        LANGUAGE,
        POSITION_DELTA,
        ROTATION_AA,
        STATE_EEF_POS_AA_GRIP,
    )

    demonstrations = Demonstrations.load(checkpoint)

    class Server(PredictModelServer):
        """The policy as vla-eval has it; the server keeps the chunk."""

        def predict(self, obs: Any, ctx: Any) -> dict[str, Any]:
            """Return the chunk from the session's present step on."""
            return {"actions": demonstrations.chunk(obs["task_description"], ctx.step)}

        def get_observation_params(self) -> dict[str, Any]:
            """Ask for both pictures and the state."""
            return {"send_wrist_image": True, "send_state": True, "quat_no_antipodal": True}

        def get_action_spec(self) -> dict[str, Any]:
            """Declare LIBERO's actions."""
            return {
                "position": POSITION_DELTA,
                "rotation": ROTATION_AA,
                "gripper": GRIPPER_CLOSE_POS,
            }

        def get_observation_spec(self) -> dict[str, Any]:
            """Declare LIBERO's observations."""
            wrist = {"wrist": IMAGE_RGB, "state": STATE_EEF_POS_AA_GRIP}
            return {"agentview": IMAGE_RGB, "language": LANGUAGE, **wrist}

    serve(Server(chunk_size=CHUNK), host="127.0.0.1", port=port)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"ours": ours, "sequential": sequential, "vla-eval-server": vla_eval_server}
    )
