"""What is said of an answer that is too large."""

from streams import stores
from streams.errors import TooMuchError

LESS = "ask for less time, fewer entities or metrics, or for windows (every)"
"""What to do about it."""


def too_much(what: str = "values") -> TooMuchError:
    """The error of an answer beyond `MAX_POINTS`."""
    return TooMuchError(f"the answer holds more than {stores.MAX_POINTS:,} {what}: {LESS}")
