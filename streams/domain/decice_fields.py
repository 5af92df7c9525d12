"""Where the catalogue's metrics are in a DECICE document, and in which units."""

from typing import Literal

from streams.domain.catalogue import Catalogue
from streams.domain.units import conversion

FIELD_UNITS = {
    "metrics.total_disk_gb": "GB",
    "metrics.free_disk_gb": "GB",
    "metrics.network_bandwidth_mbps": "Mibit/s",
    "cluster_info.total_available_disk_gb": "GB",
}
"""Units of fields that are not in the catalogue's unit."""

MEM_UNITS = {"MiB": "MiB", "GB": "GiB"}
"""Unit of `mem_total` by its setting: schedulers call GB what times 1024 is MiB."""

MemUnit = Literal["MiB", "GB"]
"""Unit of `mem_total`."""


class Fields:
    """Where the catalogue's metrics go in the document, and in which unit."""

    def __init__(self, catalogue: Catalogue, mem_unit: MemUnit) -> None:
        units = FIELD_UNITS | {"metrics.mem_total": MEM_UNITS[mem_unit]}
        self._factors = {
            name: conversion(units[metric.decice], metric.unit)[0] if metric.decice in units else 1.0
            for name, metric in catalogue.items()
        }
        self._paths = {name: metric.decice.rpartition(".") for name, metric in catalogue.items()}

    def place(self, name: str, part: str) -> str:
        """Field of a part of the document that a metric fills; empty when it has none there."""
        where, _, last = self._paths.get(name, ("", "", ""))
        return last if where == part else ""

    def value(self, name: str, value: float) -> float:
        """A metric's value in the document's unit."""
        return value / self._factors.get(name, 1.0)
