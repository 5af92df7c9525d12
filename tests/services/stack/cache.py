"""Builds kept outside the checkout, so that a fresh clone on the same machine starts in seconds."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .layout import CACHE, locked, say


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """Return the cache folder `name`, which `build` fills once, given an empty folder.

    The folder gets its name when it is whole, so what an interrupted build leaves is never taken for it.
    """
    folder = CACHE / name
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    lock = CACHE / f".lock-{name}"
    lock.touch()
    with locked(lock):
        if not folder.is_dir():
            _build(folder, build)
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    for left_over in CACHE.glob(f".building-{folder.name}-*"):
        shutil.rmtree(left_over)
    say(f"{folder.name}: building ...")
    began = time.monotonic()
    draft = Path(tempfile.mkdtemp(prefix=f".building-{folder.name}-", dir=CACHE))
    try:
        build(draft)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    say(f"{folder.name}: built in {time.monotonic() - began:.0f} s")
