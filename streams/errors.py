"""The errors that one part of the twin raises for another to answer."""


class TwinError(Exception):
    """Whatever the twin can explain to the person who runs it; its text says what to do next."""


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
    """The history store is away or refused a request; `retry_after_s` [s] is what it asked for, if it did."""

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
