"""What checks found, for `twin check`."""

from dataclasses import dataclass, field


@dataclass
class Findings:
    """What the checks found, in the order of the checks."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def ok(self, text: str) -> None:
        """Something that is as it should be."""
        self.lines.append(("ok", text))

    def note(self, text: str) -> None:
        """Something to know that is no fault."""
        self.lines.append(("note", text))

    def fault(self, text: str) -> None:
        """One or more things, a line each, that will not work."""
        self.lines += [("FAULT", line) for line in text.splitlines()]

    @property
    def faults(self) -> list[str]:
        """The faults alone."""
        return [text for mark, text in self.lines if mark == "FAULT"]
