"""A pool's pictures are a renderer's, whichever thread draws them."""

import threading

import numpy as np
import pytest

from common.errors import RenderError
from simulation.assets.resolve import embedded_pack
from simulation.environment import BatchEnvironment
from simulation.pictures.pool import PicturePool
from simulation.pictures.rendering import Renderer
from simulation.tasks import get_task

DRAWER = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
CAMERAS = ("agentview", "robot0_eye_in_hand")


def test_threads_draw_what_one_renderer_draws() -> None:
    pack = embedded_pack()
    batch = BatchEnvironment(DRAWER, 3, pack, num_threads=1)
    batch.reset([0, 1, 2], [5, 6, 7], [None, 3, 4])
    scenes = [(env.state(), env.fixtures()) for env in batch.envs]
    with Renderer(DRAWER, pack, 48, 48) as renderer:
        wanted = [[renderer.render(s, f, c, 48, 48) for c in CAMERAS] for s, f in scenes]
    pool = PicturePool(DRAWER, pack, 2)
    drawn = pool.draw(scenes, CAMERAS, 48)
    assert drawn.shape == (3, 2, 48, 48, 3) and drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, wanted)
    np.testing.assert_array_equal(batch.painters.draw(scenes[:1], CAMERAS[:1], 48), drawn[:1, :1])
    with pytest.raises(RenderError, match="no camera 'nowhere'; this task has"):
        pool.draw(scenes, ("nowhere",), 48)
    assert pool.digest == pack.digest
    pool.close()
    batch.close()


def test_environments_free_their_pictures_threads() -> None:
    with BatchEnvironment(DRAWER, 1, embedded_pack(), num_threads=2) as batch:
        batch.reset([0], [5], [None])
        scenes = [(batch.envs[0].state(), batch.envs[0].fixtures())] * 2
        drawn = batch.painters.draw(scenes, CAMERAS[:1], 48)
        with pytest.raises(ZeroDivisionError), batch:
            raise ZeroDivisionError
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pictures")]
