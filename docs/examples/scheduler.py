"""Prints the three least loaded nodes that are up. Settings are TWIN_* variables."""

import asyncio

from streams import TwinReplica
from streams.settings import load_settings


async def main() -> None:
    async with TwinReplica(load_settings()) as twin:
        await twin.ready(timeout=30)  # everything that was there at the start has been read
        loads = {}
        for node in twin.entities("node"):
            if node["status"] == "up" and "cpu_usage_percent" in node["metrics"]:
                loads[node["id"]] = node["metrics"]["cpu_usage_percent"]["value"]
        for name in sorted(loads, key=loads.__getitem__)[:3]:
            print(f"{name}: {loads[name]:.1f} % busy")


asyncio.run(main())
