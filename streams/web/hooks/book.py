"""Keeps subscriptions in a file, if there is one."""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import orjson
from pydantic import ValidationError

from streams.errors import SettingsError
from streams.web.hooks.models import Subscription

NAME = "TWIN_SUBSCRIPTIONS_FILE"


class Book:
    """The file, for this process alone; with None nothing is kept.

    Raises:
        SettingsError: it cannot be used, or another process has it.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._turn: IO[bytes] | None = None
        if path is not None:
            self._turn = _claim(path)

    @property
    def is_durable(self) -> bool:
        """Whether anything is kept."""
        return self._path is not None

    def read(self) -> list[Subscription]:
        """What was kept.

        Raises:
            SettingsError: by place, never with what stands there.
        """
        if self._path is None or not self._path.exists():
            return []
        try:
            content = orjson.loads(self._path.read_bytes())
            return [Subscription.model_validate(entry) for entry in content["subscriptions"]]
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            raise SettingsError([f"{NAME}: {self._path}: {place}: {fault['msg']}"]) from None
        except OSError as error:
            raise SettingsError([f"{NAME}: {self._path}: {error.strerror}"]) from error
        except (ValueError, KeyError, TypeError):
            raise SettingsError(
                [f"{NAME}: {self._path} is no file of subscriptions: name another, or remove it"]
            ) from None

    def write(self, content: bytes) -> None:
        """Replace what is kept, as a whole; OSError when that cannot be."""
        if self._path is None:
            return
        draft = self._path.with_name(f"{self._path.name}.draft")
        draft.unlink(missing_ok=True)
        # Made by us, and so ours alone from the beginning.
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    def close(self) -> None:
        """Let another process have it."""
        if self._turn is not None:
            self._turn.close()


def content_of(subscriptions: Iterable[Subscription]) -> bytes:
    """What is written: with the secrets, which the signatures need."""
    return orjson.dumps({"subscriptions": [_entry(one) for one in subscriptions]}, option=orjson.OPT_INDENT_2)


def _entry(one: Subscription) -> dict[str, Any]:
    return one.model_dump(mode="json") | {"secret": one.secret.get_secret_value()}


def _claim(path: Path) -> IO[bytes]:
    try:
        turn = path.with_name(f"{path.name}.lock").open("ab")
    except OSError as error:
        raise SettingsError([f"{NAME}: {path}: {error.strerror}"]) from error
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        turn.close()
        raise SettingsError(
            [f"{NAME}: another twin web has {path}: each process needs a file of its own"]
        ) from None
    return turn
