from __future__ import annotations

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
    scene, solved = load_scene(TASK, pack), []
    forward = mujoco.mj_forward
    monkeypatch.setattr(mujoco, "mj_forward", lambda *a: (solved.append(1), forward(*a)))
    copied = [_numbers(scene._sample_placement(seed), scene) for seed in (21, 22)]
    assert len(solved) == 2
    with monkeypatch.context() as patch:
        patch.delattr(scene._sim, "forward")
        computed = [_numbers(scene._sample_placement(seed), scene) for seed in (21, 22)]
    assert copied == computed
    assert len(solved) == 2 + 8


class _Sim:
    """What `ForwardPasses` knows of robosuite's simulation."""

    def __init__(self) -> None:
        xml = "<mujoco><worldbody><body><freejoint/><geom size='1'/></body></worldbody></mujoco>"

        class Holder:
            pass

        self.model, self.data = Holder(), Holder()
        self.model._model = mujoco.MjModel.from_xml_string(xml)
        self.data._data = mujoco.MjData(self.model._model)


def test_a_pass_is_copied_only_where_state_and_poses_are_the_same():
    sim = _Sim()
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
