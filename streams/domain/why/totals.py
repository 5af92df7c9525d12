"""How a total of a pool follows from what the partitions say of their nodes, in words."""

from streams.domain.aggregate import SUMMED
from streams.domain.why.text import moment, number
from streams.records import Aggregate


def say_total(known: Aggregate, metric: str, value: float, time_ms: int, unit: str) -> str:
    """The total, of how many nodes it is, and what each partition said at which place of its log."""
    width = len(known["names"])
    rows = [
        dict(zip(known["names"], known["values"][place * width : (place + 1) * width], strict=True))
        for place in range(len(known["partitions"]))
    ]
    of = f"nodes_with_{metric.replace('headroom', 'used')}"
    givers, nodes = sum(row.get(of, row["nodes"]) for row in rows), sum(row["nodes"] for row in rows)
    is_sum = metric in SUMMED or metric.startswith("used_")
    told = zip(known["partitions"], known["offsets"], rows, strict=True)
    parts = []
    for sender, offset, row in sorted(told, key=lambda one: one[0]):
        if row["nodes"]:
            said = number(row[metric], unit) if is_sum else f"{row['nodes']:g} node(s)"
            parts.append(f"{said} in partition {sender} (clock at {offset})")
    total = f"the twin's total, {number(value, unit)} at {moment(time_ms)}, of {givers:g} of {nodes:g} nodes"
    return f"{total}: {', '.join(parts)}" if parts else total
