"""Which of LIBERO's things are alike, so that what was done with one serves another."""

from __future__ import annotations

import re

FAMILIES: dict[str, tuple[str, ...]] = {
    "bowl": ("akita_black_bowl", "white_bowl"),
    "mug": ("red_coffee_mug", "porcelain_mug", "white_yellow_mug"),
    "book": ("black_book", "yellow_book"),
    "pan": ("chefmate_8_frypan",),
    "bottle": ("wine_bottle",),
    "pot": ("moka_pot",),
    "grocery": (
        "alphabet_soup",
        "tomato_sauce",
        "ketchup",
        "bbq_sauce",
        "salad_dressing",
        "new_salad_dressing",
        "milk",
        "orange_juice",
        "cream_cheese",
        "butter",
        "chocolate_pudding",
    ),
    "cabinet": ("wooden_cabinet", "white_cabinet"),
    "shelf": ("wooden_two_layer_shelf",),
    "rack": ("wine_rack",),
    "stove": ("flat_stove",),
    "caddy": ("desk_caddy",),
    "tray": ("wooden_tray",),
    "table": ("main_table", "kitchen_table", "living_room_table", "study_table", "floor"),
}
"""Family -> kinds of things that are grasped, or that carry and hold, in the same manner."""
_ROUND = {"akita_black_bowl", "white_bowl", "alphabet_soup", "tomato_sauce", "plate"}
"""Kinds that look the same from every side."""
_FAMILY = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}
_INSTANCE = re.compile(r"(?P<kind>\w+?)_(?P<number>\d+)(?:_(?P<part>[a-z]\w*))?")


def split(name: str) -> tuple[str, str]:
    """Return kind and part of an instance's or a region's name.

    `wooden_cabinet_1_top_region` is the `top_region` of a `wooden_cabinet`; regions of a table,
    which carry no number, are parts of it.
    """
    for table in FAMILIES["table"]:
        if name.startswith(f"{table}_"):
            return table, name.removeprefix(f"{table}_")
    match = _INSTANCE.fullmatch(name)
    # `chefmate_8_frypan_1` holds a number that is its kind's own.
    if match and (match["part"] or "").startswith("frypan"):
        return "chefmate_8_frypan", ""
    return (match["kind"], match["part"] or "") if match else (name, "")


def family(kind: str) -> str:
    """Return the family of a kind; one of no family is its own."""
    return _FAMILY.get(kind, kind)


def instance(name: str) -> str:
    """Return the object or fixture that a region belongs to; an object's name is its own."""
    kind, part = split(name)
    return name.removesuffix(f"_{part}") if part and family(kind) != "table" else name


def is_round(kind: str) -> bool:
    """Return whether a thing looks the same from every side."""
    return kind in _ROUND
