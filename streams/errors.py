"""The errors that one part of the twin raises for another to answer."""

from typing import Any


class TwinError(Exception):
    """Whatever the twin can explain to the person who runs it; its text says what to do next."""

    def __reduce__(self) -> tuple[Any, ...]:
        """How it goes to another process, whatever its constructor takes."""
        return _again, (type(self), self.args, self.__dict__)


def _again(cls: type[TwinError], args: tuple[Any, ...], members: dict[str, Any]) -> TwinError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(members)
    return error


class SettingsError(TwinError):
    """Settings or configuration that cannot work; `faults` lists all of them, one line each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class InvalidMessageError(TwinError):
    """Bytes or a record that a stage cannot take; `reason` is the short name that metrics count by."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class InvalidRuleError(TwinError):
    """A rule pack that cannot be used; the text begins with file:line."""


class SourceError(TwinError):
    """A target that did not answer, or not with what it should; the scrape record carries the text."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class StoreError(TwinError):
    """The history store is away or refused a request.

    Args:
        retry_after_s: [s] What it asked for, if it did.
        status: HTTP status of its refusal, if there was one.
    """

    def __init__(self, text: str, retry_after_s: float | None = None, status: int | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
        self.status = status


class TooMuchError(TwinError):
    """A query of history whose answer would be larger than is allowed; the text says how to ask for less."""
