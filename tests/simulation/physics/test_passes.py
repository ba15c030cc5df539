from __future__ import annotations

from types import SimpleNamespace

import mujoco
import numpy as np

from simulation.physics.passes import ForwardPasses
from simulation.scene import Placement, Scene, load_scene
from simulation.tasks import get_task

TASK = get_task("LIVING_ROOM_SCENE5_put_the_red_mug_on_the_left_plate")


def _numbers(placement: Placement, scene: Scene) -> list[bytes]:
    fixtures = placement.fixtures
    arrays = [placement.qpos, placement.warmstart, fixtures.positions, fixtures.quaternions]
    return [array.tobytes() for array in (*arrays, *scene.initial_controller)]


def test_a_reset_with_copied_passes_has_the_bits_of_one_without(pack, monkeypatch):
    scene, solved, forward = load_scene(TASK, pack), [], mujoco.mj_forward

    def counted(model: mujoco.MjModel, data: mujoco.MjData) -> None:
        solved.append(1)
        forward(model, data)

    monkeypatch.setattr(mujoco, "mj_forward", counted)
    copied = [_numbers(scene._sample_placement(seed), scene) for seed in (21, 22)]
    assert len(solved) == 2
    with monkeypatch.context() as patch:
        patch.delattr(scene._sim, "forward")
        computed = [_numbers(scene._sample_placement(seed), scene) for seed in (21, 22)]
    assert copied == computed
    assert len(solved) == 2 + 8


def _sim() -> SimpleNamespace:
    """Return what `ForwardPasses` knows of robosuite's simulation."""
    xml = "<mujoco><worldbody><body><freejoint/><geom size='1'/></body></worldbody></mujoco>"
    model = mujoco.MjModel.from_xml_string(xml)
    data = SimpleNamespace(_data=mujoco.MjData(model))
    return SimpleNamespace(model=SimpleNamespace(_model=model), data=data)


def test_a_pass_is_copied_only_where_state_and_poses_are_the_same():
    sim = _sim()
    passes, model, data = ForwardPasses(sim), sim.model._model, sim.data._data
    data.qpos[2] = 3.0
    passes()
    data.xpos[:], data.qacc[:] = 0.0, 0.0
    passes()
    assert data.xpos[1, 2] == 3.0 and data.qacc[2] == model.opt.gravity[2]
    for change in (data.qpos, data.qvel, data.qacc_warmstart, model.body_pos[1:]):
        before = len(passes._kept)
        change[...] += 1.0
        passes()
        assert len(passes._kept) == min(before + 1, 3)
    assert np.isfinite(data.qacc).all()
