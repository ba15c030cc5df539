"""The tasks that benchmarks run on: five scenes, with and without drawers, few objects and many."""

from __future__ import annotations

import numpy as np

from simulation.tasks import Task, get_task

DRAWER = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
"""The task of those benchmarks that run on one."""
TASKS: dict[str, Task] = {
    "kitchen 10": DRAWER,
    "spatial": get_task(
        "libero_spatial/pick_up_the_black_bowl_between_the_plate_and_the_ramekin_"
        "and_place_it_on_the_plate"
    ),
    "object": get_task("libero_object/pick_up_the_alphabet_soup_and_place_it_in_the_basket"),
    "living room 5": get_task("libero_90/LIVING_ROOM_SCENE5_put_the_red_mug_on_the_left_plate"),
    "study 1": get_task(
        "libero_90/STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_left_compartment_of_the_caddy"
    ),
}
"""Short name -> task."""
ONE_OF_EACH_SUITE: dict[str, Task] = {
    "LIBERO-Spatial": get_task(
        "libero_spatial/pick_up_the_black_bowl_on_the_cookie_box_and_place_it_on_the_plate"
    ),
    "LIBERO-Object": TASKS["object"],
    "LIBERO-Goal": get_task("libero_goal/open_the_middle_drawer_of_the_cabinet"),
    "LIBERO-10": get_task(
        "libero_10/LIVING_ROOM_SCENE5_put_the_white_mug_on_the_left_plate_and_put_the_yellow_and_"
        "white_mug_on_the_right_plate"
    ),
    "LIBERO-90": DRAWER,
}
"""Suite -> a task; of Spatial's and LIBERO-10's those whose resets meet the most contacts."""
SEED = 3
"""Seed of the resets that are not timed."""
INIT_INDEX = 7
"""Official init state that episodes start from."""


def random_actions(count: int) -> np.ndarray:
    """Return the same uniformly random actions each time, (count, 7)."""
    return np.random.default_rng(0).uniform(-1.0, 1.0, (count, 7))
