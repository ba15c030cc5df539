"""Speed of stepping with pictures beside upstream's, and of rendering each asset pack."""

from __future__ import annotations

import sys

from benchmarks.measure import (
    Result,
    Setting,
    Target,
    benchmark,
    compare,
    geometric_mean,
    wall_rate,
)
from benchmarks.peers import upstream as peers
from benchmarks.tasks import INIT_INDEX, SEED, TASKS, random_actions
from simulation.assets.embedded import PACK_NAME
from simulation.assets.resolve import AssetPack, embedded_pack
from simulation.environment import Environment
from simulation.pictures.rendering import DEFAULT_CAMERAS, Renderer
from simulation.tasks import Task

_STEPS = 20
"""Control steps of one repetition."""
_CHUNK = 10
"""Control steps between two pictures: what a policy that acts in chunks looks at."""
_SIZES = (128, 256)
_IMAGE_TASKS = ("kitchen 10", "object")
"""Of which a quick run does the first."""
_FRAMES = 5
"""Times that each camera is drawn in one repetition."""


@benchmark
def images(setting: Setting) -> list[Result]:
    """Steps with pictures of two cameras every tenth step, beside upstream's every step.

    Wall time, since OpenGL may use other threads or a GPU.
    """
    target, results = Target(5.0), []
    labels = _IMAGE_TASKS[:1] if setting.quick else _IMAGE_TASKS
    for size in _SIZES:
        name = f"pictures each {_CHUNK}th step / upstream's each step, 2 x {size} px"
        rows = [_step_with_images(name, label, size, setting, target) for label in labels]
        results += [*rows, geometric_mean(name, rows, target)]
    return results


def _step_with_images(name: str, label: str, size: int, setting: Setting, target: Target) -> Result:
    task, actions = TASKS[label], random_actions(_STEPS)
    initial = task.init_states()[INIT_INDEX]
    theirs = peers.offscreen_env(task, setting.assets, size)
    peers.start(theirs, SEED, initial)
    env = Environment(task, setting.assets)
    with Renderer(task, setting.assets, size, size) as renderer:

        def roll_out() -> None:
            for step, action in enumerate(actions):
                if step % _CHUNK == 0:
                    _draw(env, renderer, size)
                env.step(action)
                env.policy_state()

        def step_ours() -> float:
            env.reset(SEED, INIT_INDEX)
            return wall_rate(roll_out, _STEPS)

        def step_theirs() -> float:
            peers.use_context(theirs)
            theirs.set_init_state(initial)
            return wall_rate(lambda: [theirs.step(action) for action in actions], _STEPS)

        step_ours(), step_theirs()
        repetitions = setting.repetitions(5)
        result = compare(
            f"{name}, {label}", "control steps/s", repetitions, step_ours, step_theirs, target
        )
    theirs.close()
    return result


def _draw(env: Environment, renderer: Renderer, size: int) -> None:
    state, fixtures = env.state(), env.fixtures()
    for camera in DEFAULT_CAMERAS:
        renderer.render(state, fixtures, camera, size, size)


@benchmark
def asset_packs(setting: Setting) -> list[Result]:
    """Frames of 256 px drawn with the embedded pack beside the real assets."""
    if setting.assets.name == PACK_NAME:
        print("asset_packs needs LIBERO's own assets: `dlr assets install`", file=sys.stderr)
        return []
    name, target = "frames of the embedded pack / real assets, 256 px", Target(3.0)
    rows = [_draw_packs(f"{name}, {label}", task, setting, target) for label, task in TASKS.items()]
    return [*rows, geometric_mean(name, rows, target)]


def _draw_packs(name: str, task: Task, setting: Setting, target: Target) -> Result:
    def rate(pack: AssetPack, renderer: Renderer) -> float:
        def draw() -> None:
            for _ in range(_FRAMES):
                _draw(environments[pack], renderer, 256)

        return wall_rate(draw, _FRAMES * len(DEFAULT_CAMERAS))

    embedded, real = embedded_pack(), setting.assets
    environments = {pack: Environment(task, pack) for pack in (embedded, real)}
    for env in environments.values():
        env.reset(SEED, INIT_INDEX)
    with Renderer(task, embedded) as ours, Renderer(task, real) as theirs:
        rate(embedded, ours), rate(real, theirs)
        return compare(
            name,
            "frames/s",
            setting.repetitions(7),
            lambda: rate(embedded, ours),
            lambda: rate(real, theirs),
            target,
        )
