"""A real browser, where there is one: what it makes of a page, and how it paints it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_LEAST_WINDOW = 600
"""Pixels; a headless window is no narrower."""
_SECONDS = 200


def chromium(*arguments: str, profile: Path) -> str:
    """Return what Chromium prints; skip the test where there is none."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command = [found, *options, "--hide-scrollbars", f"--user-data-dir={profile}", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
    return done.stdout


def title_after(page: str, script: str, folder: Path) -> str:
    """Return the title that a script gives a page, whose policy is taken away to let it run."""
    path = folder / "worked.html"
    path.write_text(_POLICY.sub("", page).replace("</body>", f"<script>{script}</script></body>"))
    printed = chromium("--dump-dom", path.as_uri(), profile=folder / "profile")
    title = re.search(r"<title>(.*?)</title>", printed)
    assert title is not None
    return title[1]


def painted(
    page: str, folder: Path, width: int, height: int, dark: bool = False
) -> npt.NDArray[np.uint8]:
    """Return a page as it is painted in a frame of a width. Shape: (height, width, 3).

    A frame, as a headless window cannot be as narrow as a phone.
    """
    (folder / "page.html").write_text(page)
    scheme = "dark" if dark else "light"
    frame = folder / "frame.html"
    frame.write_text(
        f'<meta name="color-scheme" content="{scheme}"><body style="margin:0;background:#f0f">'
        f'<iframe src="page.html" style="border:0;width:{width}px;height:{height}px"></iframe>'
    )
    picture = folder / "page.png"
    chromium(
        f"--blink-settings=preferredColorScheme={int(not dark)}",
        f"--window-size={max(width, _LEAST_WINDOW)},{height}",
        f"--screenshot={picture}",
        frame.as_uri(),
        profile=folder / "profile",
    )
    return np.asarray(Image.open(picture).convert("RGB"))[:height, :width]


def colours(pixels: npt.NDArray[np.uint8]) -> set[tuple[int, ...]]:
    """Return the colours of a picture or of a part of one."""
    return {tuple(map(int, one)) for one in np.unique(pixels.reshape(-1, 3), axis=0)}
