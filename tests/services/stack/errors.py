"""The one error this package raises for what its user can mend."""


class StackError(Exception):
    """A service or a tool is not to be had; the message says which and what to do."""
