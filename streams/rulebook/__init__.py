"""The rule book: the catalogue and all packs, loaded and checked whole before any role starts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.domain.catalogue import FORMS, Catalogue, Metric
from streams.domain.rules import RulePack
from streams.domain.units import UNITS
from streams.errors import InvalidRuleError
from streams.rulebook.file import Block, read_yaml
from streams.rulebook.reader import read_pack

RULES_FOLDER = Path(__file__).parent.parent / "rules"
"""The catalogue and the packs that come with the twin."""


@dataclass(frozen=True)
class RuleBook:
    """The catalogue, and the packs by their names."""

    catalogue: Catalogue
    packs: dict[str, RulePack]


def load_rulebook(extra: Sequence[Path] = ()) -> RuleBook:
    """The rules that come with the twin, and those of more files or folders of `*.yaml`.

    A file has `pack:` with its rules, `metrics:` that are added to the catalogue, or both. A pack of a name
    that is there already replaces it only if it says `replace: true`.

    Raises:
        InvalidRuleError: with all faults of all files, one a line, each as file:line.
    """
    faults: list[str] = []
    files = [
        (path, block)
        for path, shown in _files(extra, faults)
        if (block := read_yaml(path, shown, faults)) is not None
    ]
    metrics: dict[str, Metric] = {}
    for _, block in files:
        _add_metrics(block, metrics)
    catalogue = Catalogue(metrics)
    packs: dict[str, RulePack] = {}
    for path, block in files:
        if "pack" in block.content:
            _add_pack(read_pack(block, catalogue, path.parent), block, packs)
        else:
            block.known.add("metrics")
            block.finish()
    if faults:
        raise InvalidRuleError("\n".join(sorted(faults, key=_by_line)))
    return RuleBook(catalogue, packs)


def _add_metrics(block: Block, metrics: dict[str, Metric]) -> None:
    part = block.block("metrics")
    for name in part.content if part else ():
        entry = part.block(name, needed=True) if part else None
        if entry is None:
            continue
        metric = _metric(name, entry)
        if name in metrics:
            entry.fault(f"metric {name!r} is in the catalogue already")
        else:
            metrics[name] = metric


def _metric(name: str, block: Block) -> Metric:
    unit = block.text("unit", needed=True)
    if unit and unit not in UNITS:
        block.fault(f"unknown unit {unit!r}; known: {', '.join(UNITS)}", "unit")
    kind = block.choice("kind", tuple(FORMS), "gauge")
    influx = block.text("influx", f"{name}.{name}")
    measurement, dot, column = influx.partition(".")
    if not (measurement and dot and column):
        block.fault(f"'influx' must be measurement.field, not {influx!r}", "influx")
    low, high = _range(block)
    metric = Metric(name, unit, kind, low, high, measurement, column, block.text("decice"), block.text("doc"))
    if not metric.help:
        block.fault("'doc' is missing: one line on what the metric is")
    block.finish()
    return metric


def _range(block: Block) -> tuple[float | None, float | None]:
    limits = block.items("range")
    if not limits:
        return None, None
    if len(limits) != 2 or not all(
        limit is None or (isinstance(limit, int | float) and not isinstance(limit, bool)) for limit in limits
    ):
        block.fault("'range' must be [least, greatest]; write null for no limit", "range")
        return None, None
    low, high = (None if limit is None else float(limit) for limit in limits)
    if low is not None and high is not None and low > high:
        block.fault(f"'range': {low:g} is above {high:g}", "range")
    return low, high


def _add_pack(pack: RulePack, block: Block, packs: dict[str, RulePack]) -> None:
    known = packs.get(pack.name)
    if known and not block.flag("replace"):
        block.fault(
            f"pack {pack.name!r} is there already ({known.place}); say `replace: true` to replace it", "pack"
        )
    packs[pack.name] = pack


def _files(extra: Sequence[Path], faults: list[str]) -> Iterator[tuple[Path, str]]:
    """Files with their names as faults show them; those of the twin by their place in the package."""
    for path in sorted(RULES_FOLDER.glob("*.yaml")):
        yield path, f"streams/rules/{path.name}"
    for place in extra:
        if place.is_dir():
            found = sorted(path for path in place.iterdir() if path.suffix in (".yaml", ".yml"))
            if not found:
                faults.append(f"{place}:1: no *.yaml in this folder")
            yield from ((path, str(path)) for path in found)
        else:
            yield place, str(place)


def _by_line(fault: str) -> tuple[str, int, str]:
    file, _, rest = fault.partition(":")
    line, _, text = rest.partition(":")
    return file, int(line) if line.isdigit() else 0, text
