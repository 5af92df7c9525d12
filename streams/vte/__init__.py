"""Scenarios for training: read, simulated, exported, and an environment for schedulers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.vte.env import TwinEnv

__all__ = ["TwinEnv"]


def __getattr__(name: str) -> Any:
    """TwinEnv, imported when it is asked for: it needs gymnasium, which commands do without."""
    if name == "TwinEnv":
        try:
            from streams.vte.env import TwinEnv
        except ModuleNotFoundError as error:
            if error.name not in ("gymnasium", "numpy"):
                raise
            raise ModuleNotFoundError(
                f"TwinEnv needs {error.name}: pip install 'decice-twin-stream[vte]'", name=error.name
            ) from error
        return TwinEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
