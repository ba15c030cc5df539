"""Small pictures for the pack's surfaces, drawn by arithmetic that gives every machine the same."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np

Picture = np.ndarray
"""uint8 (H, W, 3), row 0 at the top."""

RGB = tuple[int, int, int]

SIZE = 64

FLOORS: dict[str, tuple[str, RGB]] = {
    "dark_floor_texture": ("tiles", (70, 66, 62)),
    "rustic_floor": ("planks", (134, 98, 66)),
    "light-gray-floor-tile": ("planks", (186, 184, 180)),
    "white_marble_floor": ("plain", (226, 225, 221)),
    "seamless_wood_planks_floor": ("planks", (152, 116, 82)),
    "brown_ceramic_tile": ("tiles", (140, 104, 80)),
    "gray_ceramic_tile": ("tiles", (138, 138, 136)),
    "tile_grigia_caldera_porcelain_floor": ("tiles", (168, 166, 160)),
}
"""Floor pictures that upstream's styles name: pattern and colour."""

WALLS: dict[str, RGB] = {
    "light_blue_wall": (168, 196, 216),
    "dark_blue_wall": (58, 78, 110),
    "dark_gray_plaster": (96, 96, 96),
    "gray_plaster": (150, 150, 148),
    "dark_green_plaster_wall": (64, 92, 74),
    "light-gray-plaster": (204, 203, 199),
    "ceramic": (228, 226, 220),
    "white_wall": (238, 238, 236),
    "yellow_linen_wall_texture": (222, 204, 160),
    "smooth_light_gray_plaster": (206, 206, 204),
}
"""Wall pictures that upstream's styles name: colour."""

WOODS: dict[str, RGB] = {
    "wood_dark": (82, 62, 48),
    "wood_light": (196, 158, 116),
    "wood_red": (112, 52, 30),
    "wood_table": (84, 60, 48),
    "martin_novak_wood_table": (190, 173, 152),
    "wood_desk": (146, 106, 66),
}
"""Wooden surfaces: colour."""

LABELS: dict[str, tuple[RGB, RGB, RGB]] = {
    "butter": ((226, 196, 78), (186, 40, 34), (250, 240, 208)),
    "chocolate_pudding": ((92, 52, 34), (226, 208, 176), (148, 36, 32)),
    "cookies": ((186, 40, 44), (232, 196, 128), (250, 246, 236)),
    "cream_cheese": ((52, 84, 156), (236, 240, 246), (120, 170, 220)),
    "milk": ((240, 240, 236), (48, 104, 176), (196, 44, 44)),
    "orange_juice": ((240, 148, 36), (250, 246, 228), (52, 128, 52)),
    "alphabet_soup": ((52, 78, 150), (232, 186, 52), (196, 40, 36)),
    "tomato_sauce": ((176, 34, 28), (68, 128, 60), (240, 232, 216)),
    "salad_dressing": ((232, 226, 196), (60, 122, 66), (206, 172, 80)),
    "bbq_sauce": ((72, 28, 18), (206, 120, 40), (240, 220, 180)),
    "ketchup": ((172, 62, 20), (236, 196, 96), (60, 120, 56)),
    "wine": ((226, 216, 188), (110, 26, 40), (40, 36, 32)),
}
"""Printed packages: ground, band and emblem colours."""


def noise(seed: int, cells_high: int, cells_wide: int, size: int = SIZE) -> np.ndarray:
    """Smooth tileable noise in [0, 1], float64 (size, size), from a hash of lattice points."""
    row = np.arange(size) * cells_high / size
    column = np.arange(size) * cells_wide / size

    def lattice(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        key = (i % cells_high) * 374761393 + (j % cells_wide) * 668265263 + seed * 974634541
        key = (key ^ (key >> 13)) * 1274126177 & 0xFFFFFFFF
        return ((key ^ (key >> 16)) & 0xFFFF) / 65535.0

    top, left = row.astype(np.int64)[:, None], column.astype(np.int64)[None, :]
    down, right = (row % 1.0)[:, None], (column % 1.0)[None, :]
    upper = lattice(top, left) * (1 - right) + lattice(top, left + 1) * right
    lower = lattice(top + 1, left) * (1 - right) + lattice(top + 1, left + 1) * right
    return upper * (1 - down) + lower * down


def shade(rgb: RGB, light: np.ndarray) -> Picture:
    """The colour times a field of brightness (1 leaves it), clipped to bytes."""
    return np.clip(np.array(rgb) * light[:, :, None], 0, 255).astype(np.uint8)


def plain(rgb: RGB) -> Picture:
    """Plaster: a colour with faint mottling."""
    return shade(rgb, 0.97 + 0.06 * noise(1, 8, 8))


def wood(rgb: RGB) -> Picture:
    """Wood grain along the picture's width."""
    grain = 0.6 * noise(2, 24, 2) + 0.4 * noise(3, 64, 4)
    return shade(rgb, 0.86 + 0.28 * grain)


def tiles(rgb: RGB) -> Picture:
    """Four square tiles with darker joints."""
    field = 0.95 + 0.1 * noise(4, 4, 4)
    field[:: SIZE // 2] *= 0.72
    field[:, :: SIZE // 2] *= 0.72
    return shade(rgb, field)


def planks(rgb: RGB) -> Picture:
    """Four floor boards with dark joints."""
    field = 0.86 + 0.28 * noise(5, 32, 2)
    board = np.arange(SIZE) // (SIZE // 4)
    field *= (1.0 + 0.05 * (board % 2))[:, None]
    field[:: SIZE // 4] *= 0.7
    return shade(rgb, field)


def label(ground: RGB, band: RGB, emblem: RGB) -> Picture:
    """A printed package: a band across the middle and a round emblem on it."""
    picture = np.empty((SIZE, SIZE, 3), np.uint8)
    picture[:] = ground
    picture[SIZE * 3 // 8 : SIZE * 5 // 8] = band
    picture[: SIZE // 16] = band
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    picture[x * x + y * y < (SIZE / 5) ** 2] = emblem
    return picture


def wicker() -> Picture:
    """Woven basket work."""
    y, x = np.mgrid[:SIZE, :SIZE] // (SIZE // 16)
    return shade((190, 146, 92), 0.78 + 0.3 * ((x + y) % 2) * (0.7 + 0.3 * noise(6, 8, 8)))


def png(picture: Picture) -> bytes:
    """The picture as PNG in stored blocks, so that no compressor's version changes a byte."""
    height, width, _ = picture.shape
    rows = b"".join(b"\0" + picture[row].tobytes() for row in range(height))
    blocks = [rows[start : start + 65535] for start in range(0, len(rows), 65535)]
    body = b"\x78\x01"
    for index, block in enumerate(blocks):
        last = index == len(blocks) - 1
        body += struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block
    body += struct.pack(">I", zlib.adler32(rows))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def texture_files() -> dict[str, bytes]:
    """Every picture of the pack by its path there."""
    patterns: dict[str, Callable[[RGB], Picture]] = {
        "plain": plain,
        "tiles": tiles,
        "planks": planks,
    }
    pictures = {name: patterns[kind](rgb) for name, (kind, rgb) in FLOORS.items()}
    pictures |= {name: plain(rgb) for name, rgb in WALLS.items()}
    pictures |= {name: wood(rgb) for name, rgb in WOODS.items()}
    pictures |= {f"label_{name}": label(*rgbs) for name, rgbs in LABELS.items()}
    pictures["wicker"] = wicker()
    return {f"textures/{name}.png": png(picture) for name, picture in sorted(pictures.items())}
