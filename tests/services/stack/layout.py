"""Where things lie: the checkout's `.services` and the user's cache; how files with secrets are written."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STACK = Path(__file__).resolve().parent
CHECKOUT = STACK.parents[2]
ROOT = CHECKOUT / ".services"
ENV_FILE = ROOT / "env"
FACTS_FILE = ROOT / "services.json"
REMEMBERED_FILE = ROOT / "remembered.json"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "twin-services"


def say(line: str) -> None:
    """Print one line at once, so that a long build shows what it is at."""
    print(f"services: {line}", flush=True)


def make_root() -> None:
    """Make `.services`, which ignores itself in git and which only its owner may read."""
    ROOT.mkdir(mode=0o700, exist_ok=True)
    for name in ("log", "run", "conf", "data"):
        (ROOT / name).mkdir(exist_ok=True)
    (ROOT / ".gitignore").write_text("*\n")


def wipe_root() -> None:
    """Remove `.services` with all data, logs, ports and secrets."""
    shutil.rmtree(ROOT, ignore_errors=True)


def log_file(name: str) -> Path:
    """Return where the output of the service or build `name` goes."""
    return ROOT / "log" / f"{name}.log"


def data_folder(name: str) -> Path:
    """Return where the service `name` keeps its data."""
    return ROOT / "data" / name


def write_private(path: Path, text: str) -> None:
    """Replace `path` in one step with a file that only its owner may read."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file or folder `path`; a second holder, of any process, waits."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another command that holds {path.name}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
