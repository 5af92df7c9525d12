"""The history of the twin behind the API, and what its troubles are as problem documents."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

from fastapi import Request

from streams.errors import SettingsError, StoreError, TooMuchError
from streams.history.past import UntoldPastError
from streams.history.pool import HistoryBusyError, HistoryPool
from streams.web.problems import ProblemError

RETRY_AFTER_S = 5.0
"""[s] What a client is told to wait when the store says nothing about it."""

BUSY_RETRY_S = 2.0
"""[s] The same, when others' reads are in the way."""


def history_of(request: Request) -> HistoryPool:
    """The pool that reads history; use it within `history_problems`.

    Raises:
        ProblemError: 503; no history is configured.
    """
    pool: HistoryPool | None = request.app.state.history
    if pool is None:
        raise ProblemError(
            503,
            "no-history",
            "there is no history store: TWIN_HISTORY_URL is not set for `twin web`; `twin up` brings one",
        )
    return pool


@contextmanager
def history_problems() -> Iterator[None]:
    """Make problem documents of the errors of a read: 503 with Retry-After, or 422 where no retry helps."""
    try:
        yield
    except TooMuchError as error:
        raise ProblemError(422, "too-much", str(error)) from error
    except UntoldPastError as error:
        raise ProblemError(422, "untold-past", str(error), field="world") from error
    except HistoryBusyError as error:
        raise _away("history-busy", error, BUSY_RETRY_S) from error
    except StoreError as error:
        raise _away("history-away", error, error.retry_after_s or RETRY_AFTER_S) from error
    except SettingsError as error:
        raise ProblemError(503, "no-history", str(error)) from error


def _away(name: str, error: Exception, retry_after_s: float) -> ProblemError:
    return ProblemError(503, name, str(error), headers={"Retry-After": str(ceil(retry_after_s))})
